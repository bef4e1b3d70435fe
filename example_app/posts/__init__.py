"""Posts: anybody reads them, who has logged in writes them."""

from .model import Post
from .views import posts as namespace

__all__ = ["Post", "namespace"]
