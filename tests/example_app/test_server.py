"""The example app under a real server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from flask_orbro.simulator import SimulatorServer

from ..api.test_bad_framing import BROKEN_CHUNKS, CHUNKED, HEAD, ODD, exchange
from ..conftest import CLIENT_ID
from .conftest import free_port

Start = Callable[..., subprocess.Popen[str]]


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            if httpx2.get(url, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.05)
    pytest.fail(f"{url} does not answer")


@pytest.mark.parametrize("app", ["example_app:create_app()", "example_app.wsgi:app"])
@pytest.mark.parametrize("more", [[], ["--preload"]])
def test_gunicorn_serves_it_with_two_workers_from_an_empty_database(
    start: Start,
    environment: dict[str, str],
    simulator: SimulatorServer,
    tmp_path: Path,
    app: str,
    more: list[str],
) -> None:
    port = free_port()
    uri = f"sqlite:///{tmp_path}/shared.sqlite"
    gunicorn = start(
        *("-m", "gunicorn", "--workers", "2", "--threads", "4", "--bind", f"127.0.0.1:{port}", *more, app),
        env=environment | {"FLASK_SQLALCHEMY_DATABASE_URI": uri, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/healthz", gunicorn)
    platform = simulator.platform
    assert platform.install(url, "acme", client_id=CLIENT_ID).ok
    headers = {"Authorization": f"Bearer {platform.user_token('acme')}", "sub": "acme"}
    with httpx2.Client(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
        answers = [client.get(f"{url}/platform/users", headers=headers).status_code for _ in range(12)]
    assert answers == [200] * 12
    outcomes = [platform.webhook("acme", "device:device_updated").status for _ in range(12)]
    assert outcomes == [200] * 12
    gunicorn.terminate()
    output, _ = gunicorn.communicate(timeout=20)
    assert "Traceback" not in output
    assert output.count("Booting worker") == 2


@pytest.mark.parametrize("testing", ["true", "false"])
def test_a_body_that_gunicorn_cannot_read_is_a_problem(
    start: Start, environment: dict[str, str], simulator: SimulatorServer, tmp_path: Path, testing: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    more = {
        "FLASK_TESTING": testing,
        "FLASK_ORBRO_MAX_BODY": "4096",
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/framing.sqlite",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    gunicorn = start(
        *("-m", "gunicorn", "--threads", "4", "--bind", f"127.0.0.1:{port}", "example_app:create_app()"),
        env=environment | more,
    )
    wait_for(f"{url}/healthz", gunicorn)
    assert simulator.platform.install(url, "acme", client_id=CLIENT_ID).ok
    token = f"Authorization: Bearer {simulator.platform.webhook_token('acme')}\r\n"
    for path in ("/users", "/user/auth", "/installed", "/uninstalled", "/webhook/device", "/webhook/events"):
        head = HEAD.format(path=path) + (token if path.startswith("/webhook") else "")
        for chunks in BROKEN_CHUNKS:
            status, body = exchange(url, head + CHUNKED + chunks, shut=True)
            assert (path, chunks, status, json.loads(body)["code"]) == (path, chunks, 400, "body_unreadable")
        for rest, expected in ODD if path == "/installed" else ():
            # Some of it gunicorn refuses itself, in HTML.
            assert (path, rest, exchange(url, head + rest)[0]) == (path, rest, expected)
    gunicorn.terminate()
    output, _ = gunicorn.communicate(timeout=20)
    assert "Traceback" not in output
