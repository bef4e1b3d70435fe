"""What a caller says of a call, judged before a request is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

ONE_BODY = "Give a call one body: 'json', 'content', or 'data' with 'files'."
#: The longest timeout, in seconds; what has none waits for as long as the call may take.
MAX_TIMEOUT = 86_400


def check_options(options: Mapping[str, Any]) -> None:
    """
    :raises TypeError: where one could send the call elsewhere.
    :raises ValueError: where one is wrong, or two of them say different things.
    """
    if "extensions" in options:
        raise TypeError("'extensions' is no option of a call.")
    bodies = [options.get("json") is not None, options.get("content") is not None]
    if sum(bodies) + bool(options.get("data") or options.get("files")) > 1:
        raise ValueError(ONE_BODY)  # the HTTP library would send one of them
    if "timeout" in options and not _is_timeout(options["timeout"]):
        raise ValueError(
            "The timeout of a call is a number of seconds, more than 0 and at most a day, or None; or two to "
            "four of them in a tuple: to connect, to read, to write, and for a free connection."
        )


def _is_timeout(value: Any) -> bool:
    if isinstance(value, httpx2.Timeout):
        parts = tuple(value.as_dict().values())
    else:
        parts = value if isinstance(value, tuple) else (value, value)
    return 2 <= len(parts) <= 4 and all(part is None or _is_seconds(part) for part in parts)


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= MAX_TIMEOUT
