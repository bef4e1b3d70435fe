"""What a handler's error says: for people, and of when to try again. It is the user's own, and may be odd."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from ..logs import redact

#: Characters of an error that are kept.
_LONGEST_ERROR = 2000


def storable(text: str) -> str:
    """The text without credentials, as any database takes it."""
    shown = redact(text)[:_LONGEST_ERROR].replace("\0", "\\0")
    return shown.encode("utf-8", "backslashreplace").decode()


def text_of(error: Exception) -> str:
    """Its class, and what it says."""
    try:
        said = str(error)
    except Exception:
        said = "(it cannot be shown)"
    return f"{type(error).__name__}: {said}"


def wait_wanted(error: Exception, now: float) -> float:
    """Seconds after which an error's ``retry_after`` wants another attempt; 0 where it wants nothing.

    It is a number of seconds, a ``timedelta``, or a ``datetime``, which is UTC if it does not say: as
    werkzeug's own errors have it.
    """
    try:
        seconds = _seconds(getattr(error, "retry_after", None), now)
    except Exception:
        return 0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0


def _seconds(wanted: Any, now: float) -> float:
    if isinstance(wanted, datetime):
        return (wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC)).timestamp() - now
    if isinstance(wanted, timedelta):
        return wanted.total_seconds()
    return 0 if wanted is None else float(wanted)
