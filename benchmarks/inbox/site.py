"""One app with an inbox: its database, its web process, its Celery workers, and what is in its tables."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import jwt
from sqlalchemy import Engine, create_engine, func, select, text

from flask_orbro.models import own_models
from flask_orbro.storage import sqlite_file

from ..errors import BenchmarkError
from ..processes import Children, free_port, gunicorn
from ..servers.inbox import effects

POSTGRESQL = "postgresql+psycopg://postgres@127.0.0.1:5432/"
BROKERS = {"redis": "redis://127.0.0.1:{port}/9", "rabbitmq": "amqp://guest:guest@127.0.0.1:{port}//"}
PORTS = {"redis": 6379, "rabbitmq": 5672}
ORGANIZATION = "benchmark-organization"
TOKEN_LIFE = 3500
_models = own_models()


@dataclass(frozen=True)
class Setup:
    """:param database: ``sqlite`` or ``postgresql``.
    :param worker: ``thread`` or ``celery``.
    :param sleep: of the handler, in seconds.
    :param broker_port: of the broker; the usual one by default.
    """

    database: str
    worker: str = "thread"
    sleep: float = 0.0
    broker: str = "redis"
    broker_port: int | None = None
    threads: int = 16
    patience: float = 60.0

    def __str__(self) -> str:
        return f"{self.database}, {self.worker}" + (f" ({self.broker})" if self.worker == "celery" else "")


class Site:
    """Starts the app and asks its database.

    :param cores: where the app's processes run.
    """

    def __init__(self, folder: Path, children: Children, setup: Setup, cores: set[int] | None = None) -> None:
        self.setup, self._children, self._cores = setup, children, cores
        self._folder = folder
        self.port = free_port()
        self.client_id = f"benchmark-{uuid.uuid4().hex[:8]}"
        self._shared_secret = secrets.token_urlsafe(32)
        self._client_secret = secrets.token_urlsafe(32)
        url = f"{POSTGRESQL}{folder.name}" if setup.database == "postgresql" else ""
        own = f"sqlite:///{folder}/{sqlite_file(self.client_id)}"
        self.engine = create_engine(url or own, connect_args=_patient(url))
        if not url:
            with self.engine.connect() as connection:
                connection.execute(text("PRAGMA journal_mode=WAL"))
        _models.delivery.metadata.create_all(self.engine, tables=_models.tables)
        effects.metadata.create_all(self.engine)
        broker = BROKERS[setup.broker].format(port=setup.broker_port or PORTS[setup.broker])
        self._environment = {
            "BENCHMARK_FOLDER": str(folder),
            "BENCHMARK_DATABASE": url,
            "BENCHMARK_SLEEP": str(setup.sleep),
            "FLASK_ORBRO_CLIENT_ID": self.client_id,
            "FLASK_ORBRO_CLIENT_SECRET": self._client_secret,
            # The first install is believed: there is no platform here to ask.
            "FLASK_ORBRO_INSTALL_PROOF": "none",
            "FLASK_ORBRO_WORKER": setup.worker,
            "FLASK_ORBRO_WORKER_PATIENCE": str(setup.patience),
            "FLASK_ORBRO_CELERY_BROKER_URL": broker,
        }

    @property
    def token(self) -> str:
        claims = {
            "issued_by": "meta-platform-webhook",
            "sub": f"organizationId:{ORGANIZATION}",
            "exp": int(time.time()) + TOKEN_LIFE,
        }
        return jwt.encode(claims, self._shared_secret, algorithm="HS256")

    def start_web(self) -> int:
        """:returns: its process id."""
        command = gunicorn("benchmarks.servers.inbox:create_app()", self.port, threads=self.setup.threads)
        pid = self._children.start("web", command, environment=self._environment, cores=self._cores)
        self._children.wait_for(f"http://127.0.0.1:{self.port}/bare")
        return pid

    def start_worker(self, name: str = "worker", processes: int = 1, cores: set[int] | None = None) -> None:
        """A Celery worker."""
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.servers.inbox_celery", "worker"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning", "-n", name]
        environment = self._environment | {"C_FORCE_ROOT": "1"}
        self._children.start(
            name,
            [*command, "-c", str(processes), *quiet],
            environment=environment,
            cores=cores or self._cores,
        )

    def install(self) -> None:
        body = {"organization_id": ORGANIZATION, "shared_secret": self._shared_secret, "subdomain": "acme"}
        url = f"http://127.0.0.1:{self.port}/installed"
        request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        urlopen(request, timeout=30).close()

    def counted(self) -> dict[str, int]:
        """Statements and commits of the web process so far."""
        with urlopen(f"http://127.0.0.1:{self.port}/benchmark/counts", timeout=30) as answer:
            said: dict[str, int] = json.load(answer)
        return said

    def states(self) -> dict[str, int]:
        """Deliveries by state."""
        table = _models.delivery.__table__
        with self.engine.connect() as connection:
            return dict(connection.execute(select(table.c.state, func.count()).group_by(table.c.state)).all())

    def repeated(self) -> int:
        """Deliveries that more than one attempt was made at."""
        table = _models.delivery.__table__
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table).where(table.c.attempts > 1)) or 0

    def effects(self) -> list[int]:
        """The number of each effect, as often as it is there."""
        with self.engine.connect() as connection:
            return list(connection.scalars(select(effects.c.number)))

    def wait_until_handled(self, seconds: float) -> float:
        """:returns: how long it took, in seconds.

        :raises BenchmarkError: something is not handled in time.
        """
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            self._children.check()
            waiting = {
                name: count for name, count in self.states().items() if name not in ("done", "duplicate")
            }
            if not waiting:
                return time.monotonic() - began
            time.sleep(0.2)
        raise BenchmarkError(f"Not handled after {seconds:.0f} s: {waiting}")

    def close(self) -> None:
        self.engine.dispose()
        if self.setup.worker == "celery":
            self._drop_queue()

    def _drop_queue(self) -> None:
        from kombu.connection import Connection

        url = BROKERS[self.setup.broker].format(port=PORTS[self.setup.broker])
        queue = f"orbro.{self.client_id}"
        with Connection(url) as connection:
            channel = connection.channel()
            channel.queue_delete(queue)
            if self.setup.broker == "redis":
                # Kombu deletes what it has declared on the same connection, and nothing else.
                bindings = (f"_kombu.{kind}.{queue}" for kind in ("binding", "binding_permanent"))
                channel.client.delete(queue, *bindings)
            else:
                channel.exchange_delete(queue)


@contextmanager
def site(folder: Path, setup: Setup, cores: set[int] | None = None) -> Iterator[tuple[Site, Children]]:
    """A site in a folder and a database of its own, both dropped again."""
    home = folder / f"orbro_{os.getpid()}_{uuid.uuid4().hex[:8]}"
    home.mkdir()
    with _scratch(setup, home.name), Children(home) as children:
        made = Site(home, children, setup, cores)
        try:
            yield made, children
        finally:
            children.stop()
            made.close()


@contextmanager
def _scratch(setup: Setup, name: str) -> Iterator[None]:
    if setup.database != "postgresql":
        yield
        return
    server: Engine = create_engine(f"{POSTGRESQL}postgres", isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def _patient(url: str) -> dict[str, Any]:
    return {} if url else {"timeout": 30}
