"""The two smallest routes there can be: one for everybody, one for those who have logged in."""

from .views import hello as namespace

__all__ = ["namespace"]
