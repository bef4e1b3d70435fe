"""The example app, each in an instance folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app
from example_app.extensions import db
from flask_orbro.state import get_state

from ..conftest import need_service
from .people import Person

PROJECT = Path(__file__).parent.parent.parent
UNLIMITED = {"ATTEMPTS_PER_ADDRESS": "10000 per minute", "ATTEMPTS_PER_ACCOUNT": "10000 per minute"}
JWT_SECRET_KEY = "Yk3vR8pQ1sWz6tXb9nLc2mHd5fGj7aKe4uVi0oTy"

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1/{}",
    "mariadb": "mysql+pymysql://root@127.0.0.1/{}",
}


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("FLASK_", "ORBRO_")) and not name.startswith("ORBRO_TEST_"):
            monkeypatch.delenv(name)
    for name in ("SERVICE_ENV", "ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an example app of the simulated platform; its hashes are cheap."""
    return settings | {"JWT_SECRET_KEY": JWT_SECRET_KEY, "PASSWORD_ROUNDS": 4}


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """The instance folder of every example app of this test."""
    folder = tmp_path / "instance"
    folder.mkdir()
    return folder


@pytest.fixture
def make_example(instance: Path, settings: dict[str, Any]) -> Iterator[Callable[..., Flask]]:
    """Makes example apps of the simulated platform: ``make_example(TESTING=True)``."""
    with contextlib.ExitStack() as stack:

        def make(**config: Any) -> Flask:
            return stack.enter_context(open_app(settings | config, instance_path=instance))

        yield make


@contextlib.contextmanager
def open_app(config: Any = None, **options: Any) -> Iterator[Flask]:
    """An example app that leaves no connection open."""
    app = create_app(config, **options)
    try:
        yield app
    finally:
        get_state(app).close()
        with app.app_context():
            db.engine.dispose()


@pytest.fixture(params=["sqlite", *SERVERS])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/scratch.sqlite"
        return
    name = f"example_app_{os.getpid()}"
    template = SERVERS[request.param]
    admin = sa.create_engine(
        template.format("postgres" if request.param == "postgresql" else "mysql"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )

    def execute(statement: str) -> None:
        with admin.connect() as connection:
            connection.execute(sa.text(statement))

    need_service(request.param, lambda: execute("select 1"))
    execute(f"create database {name}")
    yield template.format(name)
    execute(f"drop database {name}")


@pytest.fixture
def redis_settings() -> Iterator[dict[str, str]]:
    """Settings of an app with Redis, whose keys nobody else uses."""
    url, prefix = "redis://127.0.0.1:6379/0", f"test-{uuid.uuid4().hex}"
    with redis.Redis.from_url(url) as client:
        need_service("Redis", client.ping)
        yield {"ORBRO_REDIS_URL": url, "CACHE_KEY_PREFIX": prefix}
        for key in client.scan_iter(f"*{prefix}*"):
            client.delete(key)


@pytest.fixture(params=[True, False], ids=["testing", "serving"])
def app(request: pytest.FixtureRequest, make_example: Callable[..., Flask]) -> Flask:
    """An example app, with ``TESTING`` on and off, in which attempts are not counted."""
    return make_example(TESTING=request.param, **UNLIMITED)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def person(client: FlaskClient) -> Person:
    return Person(client)


@pytest.fixture
def environment(settings: dict[str, Any]) -> dict[str, str]:
    """Environment variables for an example app in a process of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "ORBRO_"))}
    return own | {f"FLASK_{name}": str(value) for name, value in settings.items() if name != "ORBRO_SWEEPER"}


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python processes, each in a group that does not outlive the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                **options,
            )
            stack.callback(_end, process)
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
