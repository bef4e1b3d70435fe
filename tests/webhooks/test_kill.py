"""A short run of ``python -m benchmarks kill``; the long one is a command."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from benchmarks.inbox import kill
from benchmarks.inbox.site import POSTGRESQL, Setup

from ..conftest import need_service

DELIVERIES = 600


@pytest.mark.parametrize(
    "setup",
    [
        Setup("sqlite", "thread", sleep=0.005, patience=2),
        Setup("postgresql", "thread", sleep=0.005, patience=2),
        Setup("postgresql", "celery", sleep=0.005, patience=2),
    ],
    ids=str,
)
def test_whatever_is_killed_each_delivery_has_its_effect_once(
    tmp_path: Path, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setup.database == "postgresql":
        need_service(
            "PostgreSQL", lambda: create_engine(f"{POSTGRESQL}postgres", poolclass=NullPool).connect().close()
        )
    if setup.worker == "celery":
        need_service("Redis", redis.Redis().ping)
    monkeypatch.setattr(kill, "BETWEEN", (0.3, 0.8))
    outcome = kill.kill(tmp_path, setup, DELIVERIES)
    assert outcome.killed.total() > 0
    assert (outcome.accepted, outcome.done) == (DELIVERIES, DELIVERIES)
    assert (outcome.lost, outcome.twice) == (0, 0)
