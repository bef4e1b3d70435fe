"""A back end and its authorization server in one: a raw ASGI app that counts. Standard library only."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NOTES = json.dumps([{"id": str(n), "text": "A note, as people write them."} for n in range(5)])


class Backend:
    """The ASGI app. ``POST /token`` gives tokens, ``GET /notes`` takes them, ``GET /tokens`` counts them."""

    def __init__(self) -> None:
        self._tokens: set[bytes] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, body = self._answer(scope["path"], scope["headers"])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        if path == "/token":
            token = secrets.token_urlsafe(32)
            self._tokens.add(b"Bearer " + token.encode())
            told = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
            return 200, json.dumps(told).encode()
        if path == "/tokens":
            return 200, b"%d" % len(self._tokens)
        shown = next((value for name, value in headers if name == b"authorization"), b"")
        return (200, _NOTES.encode()) if shown in self._tokens else (401, b"{}")


app = Backend()
