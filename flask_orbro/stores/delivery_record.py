"""A delivery, as the inbox keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: What a finished handler has come to, in a delivery's ``progress``.
HANDLER_DONE, HANDLER_DEAD = "done", "dead"
_SINCE = "since "
#: What is noted as the error of a delivery that is done because nobody wanted it.
UNHANDLED = "No handler took it."


class DeliveryState(StrEnum):
    #: Waits for a worker.
    RECEIVED = "received"
    #: Leased by one.
    PROCESSING = "processing"
    DONE = "done"
    #: Is tried again, by us; or by the platform where the view handles its deliveries itself.
    FAILED = "failed"
    #: Given up; a person may redeliver it.
    DEAD = "dead"
    #: The same organization, body and token as an earlier one.
    DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """A row of the inbox. Times are seconds since the epoch.

    :param event: as the payload or the path names it; ``None`` where neither does.
    :param path: where it was delivered to.
    :param payload: the body, byte by byte; none in a list.
    :param headers: without credentials; none in a list.
    :param trace_id: of the sender's trace context or request id, else our own.
    :param digest: a keyed hash of organization, body and token.
    :param duplicate_of: the delivery that it repeats.
    :param attempts: how many times a worker has begun with it.
    :param progress: ``done`` or ``dead`` by name of the handler that is finished; ``since 3`` of one that
        was run in the third attempt first, and is to be run again.
    :param duration: of the last attempt, in seconds.
    """

    id: int = 0
    organization_id: str
    user_id: str | None
    event: str | None
    path: str
    payload: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trace_id: str
    digest: str = field(repr=False)
    duplicate_of: int | None = None
    received_at: float
    state: DeliveryState = DeliveryState.RECEIVED
    attempts: int = 0
    next_attempt_at: float | None = None
    progress: Mapping[str, str] = field(default_factory=dict)
    last_error: str | None = None
    duration: float | None = None


def since(attempt: int) -> str:
    """The word for a handler that is first run in this attempt."""
    return f"{_SINCE}{attempt}"


def attempt_of(word: str) -> int | None:
    """The attempt that :func:`since` was given; ``None`` for another word."""
    return int(word.removeprefix(_SINCE)) if word.startswith(_SINCE) else None


def columns_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a record, as the table keeps them."""
    written = dict(values)
    for name in ("headers", "progress"):
        if name in written:
            written[name] = json.dumps(dict(written[name]))
    if "state" in written:
        written["state"] = DeliveryState(written["state"]).value
    return written


def record_of(row: Any) -> DeliveryRecord:
    """A row of the table, or the columns of it that were asked for."""
    names = DeliveryRecord.__dataclass_fields__
    values = {name: value for name, value in row._asdict().items() if name in names}
    values["state"] = DeliveryState(row.state)
    for name in ("headers", "progress"):
        values[name] = json.loads(values.get(name) or "{}")
    return DeliveryRecord(**values)
