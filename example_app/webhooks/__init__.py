"""What the platform reports."""

from .handlers import forget_changes
from .views import webhooks as namespace

__all__ = ["forget_changes", "namespace"]
