"""Remembering that somebody does not answer, so that not every caller has to find out for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class KnownOutage(Exception):
    """Nobody answers there, as was found out a moment ago."""


@dataclass
class _Origin:
    """What is known of one origin; times are the monotonic clock's, in seconds."""

    down_until: float = 0
    answered_at: float = 0
    asking: dict[object, float] = field(default_factory=dict)


class OutageMemory:
    """Decides who may ask an origin now.

    While it is known to be down nobody may; after ``memory`` seconds one caller at a time may try. Where
    a question hangs for ``stall`` seconds and nothing has been answered since it was asked, the oldest
    question stays as the probe, and everybody else gives up.

    :param memory: seconds.
    :param stall: seconds.
    """

    #: Origins remembered; an app has one for each organization that it hears of.
    most = 10_000

    def __init__(self, *, memory: float, stall: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._stall = stall
        self._timer = timer
        self._lock = threading.Lock()
        self._origins: dict[str, _Origin] = {}

    def enter(self, origin: str) -> object:
        """Begin a question.

        :returns: its handle, for the other methods.
        :raises KnownOutage: where asking is pointless now.
        """
        now = self._timer()
        with self._lock:
            if len(self._origins) >= self.most:
                self._origins = {name: known for name, known in self._origins.items() if known.asking}
            known = self._origins.setdefault(origin, _Origin())
            if known.down_until and (now < known.down_until or known.asking):
                raise KnownOutage
            if self._stalled(known, now):
                raise KnownOutage
            handle = object()
            known.asking[handle] = now
            return handle

    def keep_waiting(self, origin: str, handle: object) -> bool:
        """Whether this question is still worth waiting for."""
        with self._lock:
            known = self._origins[origin]
            if not self._stalled(known, self._timer()):
                return True
            return next(iter(known.asking)) is handle

    def leave(self, origin: str, handle: object, *, answered: bool) -> None:
        """End a question."""
        now = self._timer()
        with self._lock:
            known = self._origins[origin]
            known.asking.pop(handle, None)
            if answered:
                known.answered_at, known.down_until = now, 0
            else:
                known.down_until = now + self._memory

    def _stalled(self, known: _Origin, now: float) -> bool:
        oldest = next(iter(known.asking.values()), None)
        if oldest is None:
            return False
        return now - oldest > self._stall and known.answered_at < oldest
