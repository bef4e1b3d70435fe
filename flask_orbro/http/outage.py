"""Remembering that somebody does not answer, so that not every caller has to find out for itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .forks import ProcessLock


class KnownOutage(Exception):
    """Nobody answers there, as was found out a moment ago."""


@dataclass
class _Origin:
    """What is known of one origin; times are the monotonic clock's, in seconds."""

    answered_at: float = 0
    #: Nobody is to ask before; 0 where it is not known to be down.
    down_until: float = 0
    #: The question that finds out whether it is back.
    probe: object | None = None
    #: When each question that is under way began, the oldest first.
    asking: dict[object, float] = field(default_factory=dict)


class OutageMemory:
    """Decides who may ask an origin now.

    While it is known to be down nobody may; after ``memory`` seconds one caller at a time may try. Where
    a question hangs, which is to have no answer for ``stall`` seconds while nobody else gets one either,
    the origin is down: the oldest question stays as the probe, and everybody else gives up. A probe that
    hangs is no reason for anybody to wait: somebody else may try in its place.

    :param memory: seconds.
    :param stall: seconds.
    """

    #: Origins remembered; an app has one for each organization that it hears of.
    most = 10_000

    def __init__(self, *, memory: float, stall: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._stall = stall
        self._timer = timer
        self._lock = ProcessLock()
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
            self._look(known, now)
            if known.down_until and (now < known.down_until or self._is_tried(known, now)):
                raise KnownOutage
            handle = object()
            known.asking[handle] = now
            if known.down_until:
                known.probe = handle
            return handle

    def keep_waiting(self, origin: str, handle: object) -> bool:
        """Whether this question is still worth waiting for."""
        now = self._timer()
        with self._lock:
            known = self._origins[origin]
            self._look(known, now)
            return handle is known.probe or not self._hangs(known, known.asking[handle], now)

    def leave(self, origin: str, handle: object, *, answered: bool) -> None:
        """End a question."""
        now = self._timer()
        with self._lock:
            known = self._origins[origin]
            began = known.asking.pop(handle)
            if answered or known.probe is handle:
                known.probe = None
            if answered:
                known.answered_at, known.down_until = now, 0
            elif known.answered_at <= began:  # else it is known by a newer question
                known.down_until = now + self._memory

    def _look(self, known: _Origin, now: float) -> None:
        """Find out whether the origin hangs."""
        if known.probe is not None:
            return
        unanswered = (item for item in known.asking.items() if known.answered_at <= item[1])
        oldest, began = next(unanswered, (None, 0.0))
        if oldest is not None and self._hangs(known, began, now):
            known.probe = oldest
            known.down_until = known.down_until or now + self._memory

    def _is_tried(self, known: _Origin, now: float) -> bool:
        return known.probe is not None and not self._hangs(known, known.asking[known.probe], now)

    def _hangs(self, known: _Origin, began: float, now: float) -> bool:
        return now - began > self._stall and known.answered_at <= began
