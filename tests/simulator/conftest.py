"""A running simulator, and a small app that records what the simulator does to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import jwt
import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from flask_orbro.simulator import SimulatorServer

EVENT = "device:device_updated"


class RecordingApp:
    """An app under test. ``answer`` makes the reply to a POST from the path and the body."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any, str | None]] = []
        self.url = ""
        self.answer: Callable[[str, Any], Any] = lambda path, body: {"detail": "success"}
        self.descriptor: Any = {
            "id": "recorder",
            "baseUrl": "https://elsewhere.example/never/called",
            "scopes": ["read", "write"],
            "lifecycle": {
                "installed": "/installed",
                "uninstalled": "/uninstalled",
                "enabled": "/enabled",
                "disabled": "https://elsewhere.example/disabled?why=test",
            },
            "modules": {
                "webhooks": [
                    {"event_name": "other:event", "callback_api": "/webhook/other"},
                    {"event_name": EVENT, "callback_api": "/webhook/device"},
                ]
            },
        }
        self.flask = Flask(__name__)
        self.flask.get("/connect.json")(lambda: jsonify(self.descriptor))
        self.flask.post("/<path:path>")(self._record)
        self.flask.get("/whoami")(self._whoami)

    def _record(self, path: str) -> Any:
        body = request.get_json()
        self.received.append((f"/{path}", body, request.headers.get("Authorization")))
        return self.answer(f"/{path}", body)

    def _whoami(self) -> Response:
        header = request.headers.get("Authorization")
        return jsonify(origin=request.args.get("origin"), authorization=header)

    def secrets(self) -> list[str]:
        """The shared secrets that came, in order."""
        return [body["shared_secret"] for path, body, _ in self.received if path == "/installed"]


@pytest.fixture
def app() -> Iterator[RecordingApp]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    recorder = RecordingApp()
    httpd = make_server("127.0.0.1", 0, recorder.flask, threaded=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    recorder.url = f"http://127.0.0.1:{httpd.port}"
    yield recorder
    httpd.shutdown()
    thread.join()


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer() as running:
        yield running


Ask = Callable[..., httpx2.Response]


@pytest.fixture
def ask(server: SimulatorServer) -> Iterator[Ask]:
    """``ask("GET", "acme", "/path", token)``: ``None`` names the platform's root host."""
    with httpx2.Client(base_url=server.url, trust_env=False, verify=False) as client:

        def ask(
            method: str, subdomain: str | None, path: str, token: str | None = None, **more: Any
        ) -> httpx2.Response:
            host = server.platform_host
            headers = {"Host": host if subdomain is None else f"{subdomain}.{host}"}
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            return client.request(method, path, headers=headers, **more)

        yield ask


@pytest.fixture
def control(server: SimulatorServer) -> Iterator[Ask]:
    """``control("POST", "/simulator/install", organization="acme", …)``."""
    with httpx2.Client(base_url=server.url, trust_env=False, verify=False) as client:

        def control(method: str, path: str, **fields: Any) -> httpx2.Response:
            return client.request(method, path, json=fields) if fields else client.request(method, path)

        yield control


@pytest.fixture
def mint() -> Callable[..., str]:
    """Makes a token as an app would: ``mint(secret, exp=…)``; ``None`` leaves a claim out."""

    def mint(secret: str, **claims: Any) -> str:
        usual = {"issued_by": "meta-platform-connect", "exp": 4102444800, **claims}
        kept = {name: value for name, value in usual.items() if value is not None}
        return jwt.encode(kept, secret, algorithm="HS256")

    return mint
