"""At most so many calls at once for one organization, so that a slow one cannot take every thread."""

from __future__ import annotations

import threading
from collections import Counter

from .forks import anew_after_fork


class Full(Exception):
    """As many calls as may be are under way."""


class Bulkhead:
    """:param most: calls at once under one name, in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        anew_after_fork(self)

    def start_anew(self) -> None:
        """Forget the calls that are under way: in a forked child none is."""
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()

    def enter(self, name: str) -> Counter[str]:
        """Begin a call.

        :returns: where it is counted, for :meth:`leave`: another place than that of a forked child.
        :raises Full: at once, for waiting would take a thread too.
        """
        with self._lock:
            if self._under_way[name] >= self._most:
                raise Full
            self._under_way[name] += 1
            return self._under_way

    def leave(self, name: str, counted: Counter[str]) -> None:
        """End a call."""
        with self._lock:
            counted[name] -= 1
            if not counted[name]:
                del counted[name]
