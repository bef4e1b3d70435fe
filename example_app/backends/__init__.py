"""Other back ends that the app talks to, each by a named connection."""

from .graph import graph
from .views import backends

__all__ = ["backends", "graph"]
