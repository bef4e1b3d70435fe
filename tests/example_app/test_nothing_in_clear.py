"""After the whole demo no secret and no token is in clear: in the database, in a log, in an error's body."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from demo.main import _stand_ins
from demo.tour import Tour
from flask_orbro.simulator import SimulatorServer

from ..conftest import CLIENT_ID, CLIENT_SECRET, ENCRYPTION_KEY
from .conftest import JWT_SECRET_KEY

_IN_BODIES = re.compile(rb'"(?:shared_secret|access_token|refresh_token|user_password)": *"([^"]+)"')


class Tap:
    """Stands before an app: gathers the credentials that pass, both ways, and the bodies of errors."""

    def __init__(self, app: Flask, credentials: set[str]) -> None:
        self._inner = app.wsgi_app
        self._credentials = credentials
        self.errors: list[str] = []
        app.wsgi_app = self  # type: ignore[method-assign,assignment]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self._gather_header(environ.get("HTTP_AUTHORIZATION", ""))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        self._gather(body)
        statuses: list[str] = []

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            statuses.append(status)
            return start_response(status, headers, exc_info)

        answer = self._inner(environ, start)
        try:
            said = b"".join(answer)
        finally:
            getattr(answer, "close", lambda: None)()
        self._gather(said)
        if statuses[0][0] in "45":
            self.errors.append(said.decode(errors="replace"))
        return [said]

    def _gather_header(self, header: str) -> None:
        scheme, _, value = header.partition(" ")
        if not value:
            return
        self._credentials.add(value)
        if scheme == "Basic":
            self._credentials.add(base64.b64decode(value).decode().partition(":")[2])

    def _gather(self, body: bytes) -> None:
        self._credentials |= {found.decode() for found in _IN_BODIES.findall(body)}


@pytest.mark.parametrize("testing", [True, False])
def test_no_secret_is_in_clear_after_the_demo(
    make_example: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    instance: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    testing: bool,
) -> None:
    stand_ins = {
        name.removeprefix("FLASK_"): url for name, url in _stand_ins(f"{simulator.url}/backends").items()
    }
    app = make_example(TESTING=testing, ORBRO_SWEEPER=True, **stand_ins)
    for name in ("", "flask_orbro", "sqlalchemy.engine", app.logger.name):
        caplog.set_level(logging.DEBUG, logger=name)
    credentials = {CLIENT_SECRET, ENCRYPTION_KEY, JWT_SECRET_KEY}
    tap = Tap(app, credentials)
    Tap(simulator.app, credentials)
    with Tour(serving(app), simulator.url, CLIENT_ID) as tour:
        assert tour.go(), capsys.readouterr().out
    secrets = {credential for credential in credentials if len(credential) >= 8}
    assert len(secrets) > 30
    assert any(secret.count(".") == 2 for secret in secrets)
    database = b"".join(path.read_bytes() for path in instance.glob("*.sqlite*"))
    assert b"connect_app_client_info" in database
    assert b"orbro1:" in database
    assert len(tap.errors) > 20
    assert "DEBUG" in caplog.text
    shown = {"database": database.decode("latin-1"), "log": caplog.text, "errors": "\n".join(tap.errors)}
    found = [(where, secret[:6]) for secret in secrets for where, text in shown.items() if secret in text]
    assert found == []
