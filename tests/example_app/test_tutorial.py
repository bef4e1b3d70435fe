"""The tutorial, from registering to logging out, over HTTP against gunicorn."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ..conftest import bearer
from .conftest import free_port
from .people import PASSWORD
from .test_server import wait_for


@pytest.fixture(params=["one process, memory", "two processes, Redis"])
def client(
    request: pytest.FixtureRequest,
    start: Callable[..., subprocess.Popen[str]],
    environment: dict[str, str],
    tmp_path: Path,
) -> Iterator[httpx2.Client]:
    """Of a gunicorn whose database is ``tutorial.sqlite``; each request has a connection of its own."""
    settings = {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/tutorial.sqlite"}
    workers = "1"
    if "Redis" in request.param:
        settings |= request.getfixturevalue("redis_settings")
        workers = "2"
    environment |= {f"FLASK_{name}": value for name, value in settings.items()}
    port = free_port()
    gunicorn = start(
        *("-m", "gunicorn", "--workers", workers, "--threads", "4", "--bind", f"127.0.0.1:{port}"),
        "example_app:create_app()",
        env=environment | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/healthz", gunicorn)
    limits = httpx2.Limits(max_keepalive_connections=0)
    with httpx2.Client(base_url=url, trust_env=False, timeout=20, limits=limits) as client:
        yield client


def test_the_tutorial(client: httpx2.Client, tmp_path: Path) -> None:
    ada = {"user_id": "ada", "user_email": "ada@example.com", "user_password": PASSWORD}
    registered = client.post("/users", json=ada)
    assert (registered.status_code, registered.json()["user_id"]) == (201, "ada")
    assert client.post("/users", json=ada).status_code == 409

    credentials = {"user_id": "ada", "user_password": PASSWORD}
    tokens = client.post("/user/auth", json=credentials).raise_for_status().json()
    headers = bearer(tokens["access_token"])
    assert client.get("/tests/hello").status_code == 200
    assert client.get("/tests/secret").status_code == 401
    assert client.get("/tests/secret", headers=headers).status_code == 200

    post = {"author_id": "ada", "title": "First", "body": "A body."}
    assert client.post("/posts", json=post).status_code == 401
    written = client.post("/posts", json=post, headers=headers)
    assert written.status_code == 201
    path = f"/post/{written.json()['id']}"
    assert titles(client) == [["First"]]

    # Behind the app's back, so that only what is remembered can be shown.
    with closing(sqlite3.connect(tmp_path / "tutorial.sqlite")) as database, database:
        database.execute("update posts set title = 'Unseen'")
    assert titles(client) == [["First"]]
    assert client.get(path).json()["title"] == "Unseen"

    changed = client.put(path, json=post | {"title": "Second"}, headers=headers)
    assert (changed.status_code, changed.json()["title"]) == (200, "Second")
    assert titles(client) == [["Second"]]

    renewed = client.post("/user/refresh", headers=bearer(tokens["refresh_token"])).raise_for_status().json()
    assert client.post("/user/logout", headers=headers).status_code == 204
    for token in (tokens["access_token"], tokens["refresh_token"], renewed["access_token"]):
        statuses = {client.get("/tests/secret", headers=bearer(token)).status_code for _ in range(6)}
        assert statuses == {401}
    assert client.put(path, json=post, headers=headers).status_code == 401
    assert titles(client) == [["Second"]]


def titles(client: httpx2.Client) -> list[Any]:
    """What the list shows, whichever process is asked: each different answer once."""
    shown: list[Any] = []
    for _ in range(6):
        found = [item["title"] for item in client.get("/posts").raise_for_status().json()["items"]]
        if found not in shown:
            shown.append(found)
    return shown
