"""Doing without what does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flask import current_app

T = TypeVar("T")

#: How long something that failed is not asked again (seconds).
PAUSE = 1.0


class Outage:
    """Of a Redis, say: while it is gone one caller a second waits for it, and the others do without.

    :param name: for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._ask_again_at: float | None = None

    def ask(self, act: Callable[[], T], instead: Callable[[], T]) -> T:
        """
        :param act: asks it.
        :param instead: does without, where it cannot be asked.
        """
        if not self._may_ask():
            return instead()
        try:
            answer = act()
        except Exception as error:  # each kind of store has its own
            self._ask_again_at = time.monotonic() + PAUSE
            current_app.logger.warning("%s does not answer: %s.", self._name, type(error).__name__)
            return instead()
        self._ask_again_at = None
        return answer

    def _may_ask(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._ask_again_at is None:
                return True
            if now < self._ask_again_at:
                return False
            self._ask_again_at = now + PAUSE  # the others go on without, while this one tries
            return True
