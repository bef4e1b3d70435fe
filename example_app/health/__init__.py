"""Whether this process can work."""

from .views import health

__all__ = ["health"]
