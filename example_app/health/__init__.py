"""Whether this process can work."""

from .views import health as namespace

__all__ = ["namespace"]
