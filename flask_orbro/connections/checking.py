"""Trying a connection out, step by step, for a person who waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from ..errors import OrbroError, ProblemError
from ..http.calling import SyncClient
from .auth import Forward
from .connection import Connection, Parts


@dataclass(frozen=True)
class Step:
    """What was tried, and what came of it; ``said`` is never a secret. ``seconds`` is how long it took."""

    step: str
    ok: bool
    seconds: float
    said: str


def check(parts: Parts) -> Iterator[Step]:
    """Ask for a new token, where the connection has tokens, and call its health path."""
    if parts.tokens is not None:
        tokens = parts.tokens
        step = _tried("token", lambda: (True, f"good for {tokens.ask().until - time.time():.0f} s"))
        yield step
        if not step.ok:
            return
    if isinstance(parts.definition.auth, Forward):
        yield Step("token", True, 0.0, "forwards its caller's; called without one")
        parts = replace(parts, auth=httpx2.Auth())
    yield from check_health(lambda: Connection.of(parts), parts.definition.health)


def check_health(make_client: Callable[[], SyncClient[Any]], path: str | None) -> Iterator[Step]:
    """Call a path, where there is one."""
    if path is None:
        yield Step("call", True, 0.0, "left out: the definition names no 'health' path")
        return

    def call() -> tuple[bool, str]:
        status = make_client().get(path, retry=False).status_code
        return status < 400, str(status)

    yield _tried(f"GET {path}", call)


def _tried(step: str, attempt: Callable[[], tuple[bool, str]]) -> Step:
    began = time.monotonic()
    try:
        ok, said = attempt()
    except OrbroError as error:
        ok, said = False, error.detail if isinstance(error, ProblemError) else str(error)
    return Step(step, ok, time.monotonic() - began, said)
