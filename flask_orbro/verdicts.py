"""What the platform's answer to a question about a credential says, as pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum
from typing import Any

from .protocol import CONNECT_PATH, OPEN_API_PATH, USER_PATH

TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - an error code of the platform
#: Seconds; a platform that asks for more is believed so far.
MAX_RETRY_AFTER = 3600.0


class Outcome(Enum):
    """What one answer of the platform says about a credential."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    #: Accepted, but for another organization than the one asked about.
    FOREIGN = "foreign"
    #: Refused with ``TOKEN_EXPIRED``: says nothing about who the bearer is.
    EXPIRED = "expired"
    RATE_LIMITED = "rate_limited"
    #: An answer of 4xx that is neither yes nor no: there is no such organization, perhaps.
    UNDECIDED = "undecided"
    #: No answer, or none that the protocol knows.
    FAULT = "fault"


class Undecided(Exception):
    """Why there is no verdict: a stable word for the log."""


@dataclass(frozen=True)
class Verdict:
    """The platform's answer about a credential.

    :param body: the documented members, where it was accepted.
    :param retry_after: seconds, where it was rate limited.
    :param reason: a stable word for the log, where it decides nothing.
    """

    outcome: Outcome
    body: Mapping[str, Any] | None = None
    retry_after: float | None = None
    reason: str = ""


#: The documented members of a 200, by path.
VERDICT_MEMBERS = {
    USER_PATH: ("uuid", "role", "status"),
    CONNECT_PATH: ("id", "uuid", "organization_id", "role", "status", "scope"),
    OPEN_API_PATH: ("uuid", "role", "status"),
}


def read_verdict(path: str, status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Judge the platform's answer. Only a documented 200 accepts; only a JSON 401 or 403 refuses.

    Everything else (a redirect, HTML, 204, a cut or foreign body, 5xx) is a fault of the platform,
    which says nothing about the bearer; nor does a JSON 4xx of another status.
    """
    if status == 429:
        return Verdict(Outcome.RATE_LIMITED, retry_after=retry_after(headers))
    document = _json_object(body)
    if document is None:
        return Verdict(Outcome.FAULT, reason=f"status_{status}_without_json_object")
    if status in (401, 403):
        expired = document.get("error_code") == TOKEN_EXPIRED
        return Verdict(Outcome.EXPIRED if expired else Outcome.REFUSED)
    if status != 200:
        outcome = Outcome.UNDECIDED if 400 <= status < 500 else Outcome.FAULT
        return Verdict(outcome, reason=f"status_{status}")
    members: dict[str, str] = {}
    for name in VERDICT_MEMBERS[path]:
        value = document.get(name)
        if name == "id" and type(value) is int:
            value = str(value)
        if name == "scope" and isinstance(value, list):
            value = " ".join(item for item in value if isinstance(item, str))
        if not isinstance(value, str) or (not value and name in ("uuid", "organization_id")):
            return Verdict(Outcome.FAULT, reason=f"member_{name}")
        members[name] = value
    return Verdict(Outcome.ACCEPTED, body=members)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """``Retry-After`` in seconds, bounded to an hour; a date is taken as so long after the answer's own.

    :param now: when an answer without a date was given, in seconds since the epoch.
    """
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER)
    date = headers.get("date", "" if now is None else formatdate(now, usegmt=True))
    try:
        wanted, given = parsedate_to_datetime(value), parsedate_to_datetime(date)
        return min(max((wanted - given).total_seconds(), 0.0), MAX_RETRY_AFTER)
    except (TypeError, ValueError, OverflowError):
        return None


def error_code(body: bytes) -> str | None:
    """``error_code`` of the platform's JSON error body, where there is one."""
    code = (_json_object(body) or {}).get("error_code")
    return code if isinstance(code, str) else None


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
