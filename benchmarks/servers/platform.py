"""The platform: a raw ASGI app that answers at once, or later, and counts. Standard library only.

It believes every bearer: what is measured is what the apps do about it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ORGANIZATION = os.environ.get("BENCHMARK_ORGANIZATION", "")
_CALLER = {"uuid": "2f1c5a0e-6f7e-4a55-9d0b-6c1b9a4f2e11", "role": "HQ", "status": "Activated"}
_APP = {"id": "5d8f0c86-1f5e-4f44-8b53-3a8f3c4b9d70", "organization_id": _ORGANIZATION, "scope": ""}
_USERS = [_CALLER | {"id": f"user-{n}", "email": f"user{n}@acme.example"} for n in range(5)]

_ANSWERS = {
    "/api/v1/auth": json.dumps(_CALLER).encode(),
    "/api/v1/connect-auth/token": json.dumps(_CALLER | _APP).encode(),
    "/api/v1/users": json.dumps({"data": _USERS}).encode(),
}
_UNAUTHORIZED = b'{"error_code": "UNAUTHORIZED"}'
_NOT_FOUND = b'{"error_code": "NOT_FOUND"}'


class Platform:
    """The ASGI app."""

    def __init__(self) -> None:
        self._latency = 0.0
        self._requests = 0
        self._connections: set[Any] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith("/benchmark/"):
            status, body = 200, self._control(path)
        else:
            self._requests += 1
            self._connections.add(tuple(scope["client"]))
            if self._latency:
                await asyncio.sleep(self._latency)
            status, body = _answer(path, scope["headers"])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _control(self, path: str) -> bytes:
        """``/benchmark/latency/{milliseconds}``, and ``/benchmark/counted``, which starts at nought again."""
        _, _, what, *rest = path.split("/")
        if what == "latency":
            self._latency = float(rest[0]) / 1000
        counted = {"requests": self._requests, "connections": len(self._connections)}
        if what == "counted":
            self._requests = 0
            self._connections.clear()
        return json.dumps(counted).encode()


def _answer(path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    authorization = next((value for name, value in headers if name == b"authorization"), b"")
    if not authorization.startswith(b"Bearer "):
        return 401, _UNAUTHORIZED
    body = _ANSWERS.get(path)
    return (404, _NOT_FOUND) if body is None else (200, body)


app = Platform()
