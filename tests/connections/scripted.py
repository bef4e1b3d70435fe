"""A server that gives the answers of a script, in turn, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, request

from ..conftest import serve


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Scripted:
    """``answer(200, {...})`` adds an answer; the last one is given again and again."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self._answers: list[tuple[int, bytes, str, dict[str, str]]] = []
        self.app = Flask("scripted")
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        self.app.add_url_rule("/<path:path>", "any", self._any, methods=methods)

    def answer(self, status: int, body: Any = None, kind: str = "application/json", **headers: str) -> None:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self._answers.append((status, content, kind, headers))

    def _any(self, path: str) -> Response:
        query = list(request.args.items(multi=True))
        self.asked.append(Asked(request.method, f"/{path}", query, dict(request.headers), request.get_data()))
        status, content, kind, headers = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Response(content, status, headers, content_type=kind)


@contextmanager
def scripted_server() -> Iterator[Scripted]:
    server = Scripted()
    with serve(server.app) as url:
        server.url = url
        yield server
