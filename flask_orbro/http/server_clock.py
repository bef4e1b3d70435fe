"""What time it is for the platform, as its ``Date`` headers tell."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

#: ``Date`` counts whole seconds and was written a moment ago: smaller differences mean nothing.
NOISE = 2.0


class ServerClock:
    """Our clock, corrected by how far the platform's is from it.

    :param clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: How far the platform's clock is ahead of ours, in seconds.
        self.skew = 0.0
        self._observed = ""

    def __call__(self) -> float:
        """The platform's time, in seconds since the epoch."""
        return self._clock() + self.skew

    def local(self) -> float:
        """Our own time, in seconds since the epoch."""
        return self._clock()

    def observe(self, date: str | None) -> None:
        """Learn from a ``Date`` header; one that cannot be read tells nothing."""
        if date is None or date == self._observed:  # many answers of one second
            return
        self._observed = date
        try:
            ahead = parsedate_to_datetime(date).timestamp() - self._clock()
        except (TypeError, ValueError, OverflowError):
            return
        if abs(ahead - self.skew) > NOISE:
            self.skew = ahead if abs(ahead) > NOISE else 0.0
