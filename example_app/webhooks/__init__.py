"""What the platform reports."""

from .views import webhooks

__all__ = ["webhooks"]
