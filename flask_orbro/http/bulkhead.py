"""At most so many calls at once for one organization, so that a slow one cannot take every thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

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

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """:raises Full: at once, for waiting would take a thread too."""
        under_way = self._under_way  # the one that it ends in as well, where it forks
        with self._lock:
            if under_way[name] >= self._most:
                raise Full
            under_way[name] += 1
        try:
            yield
        finally:
            with self._lock:
                under_way[name] -= 1
                if not under_way[name]:
                    del under_way[name]
