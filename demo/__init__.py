"""``python manage.py demo``: the platform and the app, side by side. The app itself imports none of it."""

from .main import demo

__all__ = ["demo"]
