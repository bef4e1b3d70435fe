"""Logging in and out."""

from .model import EndedSession
from .views import sessions as namespace

__all__ = ["EndedSession", "namespace"]
