"""Calls by one connection with OAuth tokens, whose clock can be stepped."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from flask_orbro.connections import AsyncConnection, Connection, Sources, Surroundings, read_definitions
from flask_orbro.connections.connection import make_parts
from flask_orbro.stores.cache import Cache, MemoryCache

from .backend import Backend

CLIENT = "app:1 &="


class Clock:
    """The system's clock, which tests may step."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Calls:
    """Calls ``/guarded`` by one connection, sync or async."""

    def __init__(
        self,
        form: str,
        backend: Backend,
        cache: Cache | None = None,
        secret: str | None = None,
        timeout: float = 2,
        **auth: Any,
    ) -> None:
        self.clock = Clock()
        document = {
            "url": backend.url,
            "timeout": timeout,
            "auth": {
                "kind": "oauth2_client_credentials",
                "token_url": backend.url + "/token",
                "client_id": CLIENT,
                "client_secret": {"config": "SECRET"},
                **auth,
            },
        }
        sources = Sources(config={"SECRET": secret or backend.secret})
        read = read_definitions({"notes": document}, sources, path="connections")["notes"]
        around = Surroundings(cache=cache or MemoryCache(timer=self.clock), clock=self.clock)
        self.parts = make_parts("notes", read, around)
        self._form = form

    def __call__(self, path: str = "/guarded") -> int:
        """The status of the answer, once the renewal has ended that the call may have begun."""
        try:
            return self.now(path)
        finally:
            self.settle()

    def now(self, path: str = "/guarded") -> int:
        """The status of the answer, whatever goes on."""
        if self._form == "sync":
            return Connection.of(self.parts).get(path).status_code

        async def call() -> int:
            return (await AsyncConnection.of(self.parts).get(path)).status_code

        return asyncio.run(call())

    def settle(self) -> None:
        """Wait for the renewal that is under way."""
        while self.parts.tokens is not None and self.parts.tokens._flights.is_under_way(""):
            time.sleep(0.001)
