"""At most so many calls at once for one organization, so that a slow one cannot take every thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Full(Exception):
    """As many calls as may be are under way."""


class Bulkhead:
    """:param most: calls at once under one name, in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """:raises Full: at once, for waiting would take a thread too."""
        with self._lock:
            if self._under_way[name] >= self._most:
                raise Full
            self._under_way[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[name] -= 1
                if not self._under_way[name]:
                    del self._under_way[name]
