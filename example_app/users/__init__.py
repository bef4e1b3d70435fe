"""Accounts of this app; they have nothing to do with the platform's users."""

from .model import User
from .views import users as namespace

__all__ = ["User", "namespace"]
