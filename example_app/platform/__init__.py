"""Who calls, in the platform's words, and what the platform says in return."""

from .views import platform as namespace

__all__ = ["namespace"]
