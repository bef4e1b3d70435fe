"""What a setting's value may be: each check gives the value back, or says what is wrong with it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

_BASE_URL = re.compile(r"https?://[^/?#\s@]+(/[^?#\s]*)?")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?", re.ASCII)


def text(value: Any) -> str:
    """Visible ASCII text of at most 4096 characters. It may be a secret: no message quotes it."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {type(value).__name__}; put it in quotes")
    if not value or len(value) > 4096 or not value.isascii() or not value.isprintable():
        raise ValueError("must be 1 to 4096 printable ASCII characters")
    if value != value.strip():
        raise ValueError("must not begin or end with a space")
    return value


def one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {value!r}")
        return str(value)

    return check


def environment(*names: str) -> Callable[[Any], str]:
    """One of the platform's environments, in whatever case."""
    known = one_of(*names)
    return lambda value: known(value.lower() if isinstance(value, str) else value)


def host(value: Any) -> str:
    """A host name, with a port where it needs one; no scheme, no path."""
    name = text(value).lower()
    port = name.partition(":")[2]
    if not _HOST.fullmatch(name) or ".." in name or (port and not 0 < int(port) < 65536):
        raise ValueError(f"must be a host name such as orbro.io or orbro.localhost:8001, not {value!r}")
    return name


def is_loopback(name: str) -> bool:
    """Whether a host name, without its port, is of this machine (RFC 6761, section 6.3)."""
    return name in ("localhost", "127.0.0.1", "::1") or name.endswith(".localhost")


def number(minimum: float, maximum: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, not {value!r}")
        if not minimum <= value <= maximum:
            raise ValueError(f"must be between {minimum:g} and {maximum:g}, not {value!r}")
        return value

    return check


def whole(minimum: int, maximum: int) -> Callable[[Any], int]:
    in_range = number(minimum, maximum)

    def check(value: Any) -> int:
        if int(in_range(value)) != value:
            raise ValueError(f"must be a whole number, not {value!r}")
        return int(value)

    return check


def switch(value: Any) -> bool:
    # An environment variable is JSON to Flask: 'true' is a truth value there, 'True' a text.
    if value in ("True", "False"):
        return bool(value == "True")
    if not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {value!r}")
    return value


def mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping, not {type(value).__name__}")
    return value


def path_on_app(value: Any) -> str:
    path = text(value)
    if not path.startswith("/") or path.startswith("//") or any(c in path for c in "?#<>\\"):
        raise ValueError(f"must be a path such as /connect.json, not {value!r}")
    return path


def base_url(value: Any) -> str:
    url = text(value)
    if not _BASE_URL.fullmatch(url):
        raise ValueError(f"must be a URL such as https://app.example, not {value!r}")
    return url


def keys(value: Any) -> tuple[bytes, ...]:
    """Keys of 32 bytes in base64, in a list or with commas between them; no message quotes one."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError("must be a list of keys")
    found = tuple(_key(item) for item in listed)
    if len(set(found)) != len(found):
        raise ValueError("must not name a key twice")
    return found


def _key(value: Any) -> bytes:
    written = text(value.strip() if isinstance(value, str) else value)
    try:
        # Either alphabet, with or without padding.
        key = base64.b64decode(written.rstrip("=") + "=", altchars="-_", validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("must be 32 bytes in base64")
    return key
