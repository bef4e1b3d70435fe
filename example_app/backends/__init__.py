"""Other back ends that the app talks to, each by a named connection."""

from .graph import graph as graph_namespace
from .views import backends as namespace

__all__ = ["graph_namespace", "namespace"]
