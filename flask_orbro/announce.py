"""Sending signals."""

from __future__ import annotations

from typing import Any

from blinker import NamedSignal
from flask import Flask

from .logs import get_logger

logger = get_logger(__name__)


def announce(app: Flask, signal: NamedSignal, **told: Any) -> bool:
    """Send a signal after commit, to async receivers too; one that raises is logged and loses nothing.

    :returns: whether none has raised.
    """
    good = True
    for receiver in signal.receivers_for(app):
        try:
            with app.app_context():
                app.ensure_sync(receiver)(app, **told)
        except Exception:
            logger.exception("A receiver of %s failed.", signal.name)
            good = False
    return good
