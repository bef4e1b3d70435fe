"""What the platform reports."""

from . import handlers as handlers
from .views import webhooks

__all__ = ["webhooks"]
