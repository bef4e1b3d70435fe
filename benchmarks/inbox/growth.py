"""What the inbox's statements cost as it grows from 1,000 to 1,000,000 rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import sessionmaker

from flask_orbro.models import own_models
from flask_orbro.stores.delivery_record import DeliveryRecord, DeliveryState
from flask_orbro.stores.inbox import InboxStore

from ..figures import table
from ..runner import progress
from .site import Setup, site

ROWS = (1_000, 10_000, 100_000, 1_000_000)
#: How often each statement is timed; the figure is the median.
TIMES = 300
_CHUNK = 10_000


def run(folder: Path) -> str:
    """A table for each database."""
    parts = []
    for database in ("sqlite", "postgresql"):
        with site(folder, Setup(database)) as (here, _):
            models = own_models()
            store = InboxStore(sessionmaker(here.engine), models)
            measured: dict[int, dict[str, float]] = {}
            filled = 0
            for rows in ROWS:
                _fill(here.engine, models.delivery.__table__, filled, rows)
                filled = rows
                if database == "postgresql":
                    with here.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                        connection.exec_driver_sql("VACUUM ANALYZE connect_app_delivery")
                measured[rows] = _measure(store, rows)
                progress(f"{database}, {rows:,} rows: measured")
            parts.append(_table(database, measured))
    return "\n".join(parts)


def _fill(engine: Any, target: Any, start: int, end: int) -> None:
    """Rows as a long life leaves them: almost all done, some dead, some duplicates."""
    states = ["done"] * 97 + ["dead", "duplicate", "done"]
    with engine.begin() as connection:
        for first in range(start, end, _CHUNK):
            connection.execute(
                insert(target),
                [
                    {
                        "organization_id": f"organization-{number % 100}", "path": "/webhook/events",
                        "event": "a:b",
                        "payload": b'{"event_name": "a:b", "data": {"profile_id": "x", "battery": 0.87}}',
                        "headers": "{}", "trace_id": f"{number:032x}", "digest": f"old-{number:060x}",
                        "unique_digest": f"old-{number:060x}", "received_at": 1.7e9 + number, "attempts": 1,
                        "state": states[number % 100], "progress": "{}", "duration": 0.01,
                    }
                    for number in range(first, min(first + _CHUNK, end))
                ],
            )  # fmt: skip


def _measure(store: InboxStore, rows: int) -> dict[str, float]:
    """Seconds of each statement."""
    now = 1.8e9
    kept: list[int] = []

    def new(number: int) -> DeliveryRecord:
        return DeliveryRecord(
            organization_id="organization-1", user_id=None, event="a:b", path="/webhook/events",
            payload=b"{}", headers={}, trace_id="t", digest=f"new-{rows}-{number}",
            received_at=now, next_attempt_at=now,
        )  # fmt: skip

    def receive(number: int) -> None:
        kept.append(store.receive(new(number), window=86_400).id)

    def claim(number: int) -> None:
        store.claim(kept[number], lease="l", until=now + 60)

    def settle(number: int) -> None:
        store.settle(kept[number], "l", {"state": DeliveryState.DONE, "next_attempt_at": None, "lease": None})

    def sweep(number: int) -> None:
        store.call_due(now + number, until=now + number + 1, limit=1)

    steps: dict[str, Callable[[int], object]] = {
        "receive": receive,
        "receive a duplicate": lambda number: store.receive(new(number), window=86_400),
        "find what is due": lambda number: store.next_due(),
        "call what is due": sweep,
        "claim": claim,
        "settle": settle,
        "list the dead": lambda number: store.find(state=DeliveryState.DEAD),
        "look for what is old": lambda number: store.retain(received_after=0, most=10**9),
    }
    return {name: _time(step) for name, step in steps.items()}


def _time(step: Callable[[int], object]) -> float:
    times = []
    for number in range(TIMES):
        began = time.perf_counter()
        step(number)
        times.append(time.perf_counter() - began)
    return median(times)


def _table(database: str, measured: dict[int, dict[str, float]]) -> str:
    head = (f"{database}, ms", *(f"{rows:,} rows" for rows in measured), "the last over the first")
    smallest, largest = ROWS[0], ROWS[-1]
    lines = [
        (
            name,
            *(f"{measured[rows][name] * 1000:.2f}" for rows in measured),
            f"{measured[largest][name] / measured[smallest][name]:.2f}",
        )
        for name in measured[smallest]
    ]
    return table(head, lines) + "\n"
