"""What is kept of a delivery's headers: enough to understand it later, and no credential."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from ..logs import redact

#: Headers kept, and characters of each.
MOST, LONGEST = 64, 1024
_CREDENTIAL = re.compile(
    r"(?i)auth|cookie|token|secret|credential|signature|session|api-?key|bearer|jwt|hmac|pwd"
    r"|\bpass|pass(word|wd|phrase|code)|(key|\bt?otp|\bsign?)\b"
)
#: W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,64}")


def kept_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers whose names do not sound like a credential, with what looks like one gone."""
    kept = ((name, value) for name, value in headers if not _CREDENTIAL.search(name))
    return {
        name[:LONGEST]: redact(value[:LONGEST]) for (name, value), _ in zip(kept, range(MOST), strict=False)
    }


def trace_id(traceparent: str | None, request_id: str | None) -> str:
    """The trace that the sender names, else its request id, else a new one of 32 hex digits."""
    named = _TRACEPARENT.fullmatch(traceparent or "")
    if named:
        return named.group(1)
    if request_id and _REQUEST_ID.fullmatch(request_id) and redact(request_id) == request_id:
        return request_id
    return secrets.token_hex(16)
