"""Posts: anybody reads them, who has logged in writes them."""

from .model import Post
from .views import posts

__all__ = ["Post", "posts"]
