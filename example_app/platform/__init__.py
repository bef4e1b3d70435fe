"""Who calls, in the platform's words, and what the platform says in return."""

from .views import platform

__all__ = ["platform"]
