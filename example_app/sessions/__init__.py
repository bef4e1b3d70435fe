"""Logging in and out."""

from .model import EndedSession
from .views import sessions

__all__ = ["EndedSession", "sessions"]
