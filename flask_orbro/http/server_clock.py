"""What time it is for the platform, as its ``Date`` headers tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import mktime_tz, parsedate_tz

#: ``Date`` counts whole seconds and was written a moment ago: smaller differences mean nothing.
NOISE = 2.0
#: A clock that is further away is not the platform's, in seconds.
MAX_SKEW = 86_400.0
#: What a response's ``extensions`` keep :data:`Times` under.
TIMES = "orbro_times"

#: When a request was sent and when the head of its answer came, by the monotonic clock, in seconds.
Times = tuple[float, float]


class ServerClock:
    """Our clock, corrected by how far the platform's is from it.

    :param clock: seconds since the epoch.
    :param timer: the monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float], timer: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._timer = timer
        #: How far the platform's clock is ahead of ours, in seconds.
        self.skew = 0.0
        self._observed = ""

    def __call__(self) -> float:
        """The platform's time, in seconds since the epoch."""
        return self._clock() + self.skew

    def observe(self, headers: Mapping[str, str], times: Times | None = None) -> None:
        """Learn from an answer's ``Date``; one that cannot be read, or is kept by a cache, tells nothing.

        :param times: by default it came at once, and just now.
        """
        date = headers.get("date", "")
        if date == self._observed or headers.get("age", "0") != "0":  # many answers of one second
            return
        self._observed = date
        said = _seconds(date)
        if said is None:
            return
        now, here = self._timer(), self._clock()
        sent, received = times or (now, now)
        # It was written in between: so far is the platform ahead at least, and at most.
        least, most = said - here + (now - received), said - here + (now - sent)
        if abs(least) > MAX_SKEW or least - NOISE <= self.skew <= most + NOISE:
            return
        # At least: a token of a moment ago is taken, one of a moment hence may not be.
        self.skew = 0.0 if least - NOISE <= 0 <= most + NOISE else least


def _seconds(date: str) -> float | None:
    """An HTTP date in seconds since the epoch."""
    try:
        parts = parsedate_tz(date)
        return None if parts is None else float(mktime_tz(parts))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
