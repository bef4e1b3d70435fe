"""What the platform reports."""

from . import handlers as handlers
from .views import webhooks as namespace

__all__ = ["namespace"]
