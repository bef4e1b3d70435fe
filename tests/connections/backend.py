"""A back end that tells what it was sent, and fails as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from flask import Flask, Response, request

from ..conftest import serve


class Backend:
    """An app on a port of its own.

    ``/token`` gives tokens to the client ``app`` with the secret :attr:`secret`; whatever is queued in
    :attr:`token_answers` comes first. ``/guarded`` wants the last one. ``/status/{n}`` answers so.
    """

    secret = "s3cret: of the client +/%"

    def __init__(self) -> None:
        self.url = ""
        #: Path with query, headers and body of every request.
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.token_answers: list[tuple[int, Any, dict[str, str]]] = []
        #: What good answers of ``/token`` say beside the token.
        self.told: dict[str, Any] = {"expires_in": 600, "token_type": "Bearer"}
        self.tokens: list[str] = []
        self.refuse_all = False
        #: While it is not set ``/token`` says nothing.
        self.gives = threading.Event()
        self.gives.set()
        self._lock = threading.Lock()
        self.app = Flask("backend")
        self.app.before_request(self._note)
        self.app.add_url_rule("/token", "token", self._token, methods=["POST"])
        self.app.add_url_rule("/guarded", "guarded", self._guarded)
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
        self.app.add_url_rule(
            "/status/<int:code>", "status", self._status, methods=methods, provide_automatic_options=False
        )
        self.app.add_url_rule("/<path:path>", "echo", self._echo, methods=methods)

    def paths(self, path: str) -> list[tuple[str, dict[str, str], bytes]]:
        """The requests for one path."""
        return [sent for sent in self.seen if sent[0].partition("?")[0] == path]

    def revoke(self) -> None:
        self.tokens.append("revoked-so-that-no-token-is-the-last")

    def _note(self) -> None:
        target = request.environ["REQUEST_URI"]
        with self._lock:
            self.seen.append((target, dict(request.headers), request.get_data()))

    def _token(self) -> Any:
        self.gives.wait(60)
        if self.token_answers:
            status, body, headers = self.token_answers.pop(0)
            return Response(body, status, headers, content_type="application/json")
        form = {name: values[0] for name, values in parse_qs(request.get_data(as_text=True)).items()}
        shown = form.get("client_secret")
        if request.authorization is not None and request.authorization.password is not None:
            shown = parse_qs(f"s={request.authorization.password}")["s"][0]
        if shown != self.secret:
            return {"error": "invalid_client", "error_description": f"{shown} is wrong"}, 401
        with self._lock:
            token = f"token-{len(self.tokens)}"
            self.tokens.append(token)
        return {"access_token": token, **self.told}

    def _guarded(self) -> Any:
        good = self.tokens and request.headers.get("Authorization") == f"Bearer {self.tokens[-1]}"
        return {"ok": True} if good and not self.refuse_all else ({"error": "refused"}, 401)

    def _status(self, code: int) -> Any:
        return Response("{}", code, dict(request.args), content_type="application/json")

    def _echo(self, path: str) -> Any:
        return {"path": "/" + path, "headers": dict(request.headers), "query": request.args.to_dict()}


@contextmanager
def running_backend() -> Iterator[Backend]:
    backend = Backend()
    with serve(backend.app) as url:
        backend.url = url
        try:
            yield backend
        finally:
            backend.gives.set()
