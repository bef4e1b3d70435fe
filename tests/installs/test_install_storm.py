"""Installs from everywhere at once, on real servers with several processes, and killed ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from flask import Flask
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import sessionmaker

from flask_orbro import OrbroConnect
from flask_orbro.models import own_models
from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.errors import AppCallError
from flask_orbro.state import OrbroState, get_state

from ..conftest import CLIENT_ID, DESCRIPTOR
from ..databases import ENGINES, SERVERS, empty_database
from ..example_app.conftest import free_port
from .test_lifecycle_load import at_once

ORGANIZATIONS = [f"storm{number}" for number in range(6)]
Start = Callable[..., subprocess.Popen[bytes]]


class Storm:
    """A database, the servers over it, and an app of our own that looks at it.

    :param url: where the servers are reached.
    """

    def __init__(
        self, database: str, settings: dict[str, Any], simulator: SimulatorServer, folder: Path
    ) -> None:
        self.platform = simulator.platform
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._settings = settings | {"SQLALCHEMY_DATABASE_URI": database}
        del self._settings["ORBRO_SWEEPER"]
        (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
        self._stack = ExitStack()
        self._log = self._stack.enter_context((folder / "server.log").open("ab"))
        self.engine = create_engine(database)
        self._stack.callback(self.engine.dispose)
        self.models = own_models()
        self.models.client_info.metadata.create_all(self.engine, tables=self.models.tables)

    def serve(self, processes: int, threads: int) -> subprocess.Popen[bytes]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "ORBRO_"))}
        environment = own | {f"FLASK_{name}": str(value) for name, value in self._settings.items()}
        engine = {"pool_size": threads, "max_overflow": 10}
        environment |= {"STORM_FOLDER": str(self._folder), "XDG_RUNTIME_DIR": str(self._folder)}
        environment["FLASK_SQLALCHEMY_ENGINE_OPTIONS"] = json.dumps(engine)
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--workers", str(processes), "--threads", str(threads)),
                *(
                    "--bind",
                    f"127.0.0.1:{self.port}",
                    "--graceful-timeout",
                    "3",
                    "tests.installs.storm_app:create_app()",
                ),
            ],
            env=environment,
            cwd=Path(__file__).parent.parent.parent,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        self._stack.callback(end, server)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(httpx2.HTTPError):
                if httpx2.get(f"{self.url}/connect.json", timeout=2, trust_env=False).status_code == 200:
                    return server
            time.sleep(0.05)
        pytest.fail((self._folder / "server.log").read_text()[-2000:])

    @property
    def state(self) -> OrbroState:
        """An app over the same database, in this process."""
        app = Flask("looking", root_path=str(self._folder), instance_path=str(self._folder))
        app.config.update(self._settings | {"ORBRO_SWEEPER": False})
        OrbroConnect(app, db_session_maker=sessionmaker(self.engine))
        self._stack.callback(get_state(app).close)
        return get_state(app)

    def install(self, subdomain: str) -> int:
        return self.platform.install(self.url, subdomain, client_id=CLIENT_ID).status

    def settle(self, state: OrbroState, names: list[str]) -> None:
        """Ask until what the platform accepts is in force; the servers do so too."""
        deadline = time.monotonic() + 60
        while not all(self.is_in_force(state, name) for name in names):
            assert time.monotonic() < deadline
            state.sweep()
            time.sleep(0.1)

    def is_in_force(self, state: OrbroState, name: str) -> bool:
        platforms = self.platform.installation(name, self.url)
        stored = state.organizations.get(platforms.organization_id)
        proven = stored is not None and stored.is_active and stored.bound_subdomain == name
        return proven and stored is not None and stored.shared_secret == platforms.shared_secret

    def rows(self) -> int:
        with self.engine.connect() as connection:
            table = self.models.client_info.__table__
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def close(self) -> None:
        self._stack.close()


def end(server: subprocess.Popen[bytes]) -> None:
    """With all its workers, at once."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.fixture(params=SERVERS)
def storm(
    request: pytest.FixtureRequest, tmp_path: Path, settings: dict[str, Any], simulator: SimulatorServer
) -> Iterator[Storm]:
    with empty_database(request.param, tmp_path) as database:
        made = Storm(database, settings, simulator, tmp_path)
        try:
            yield made
        finally:
            made.close()


def test_fifty_threads_and_four_processes_leave_one_row_each_with_the_secret_that_counts(
    storm: Storm,
) -> None:
    storm.serve(processes=4, threads=16)

    def install(number: int) -> list[int]:
        return [storm.install(ORGANIZATIONS[(number + turn) % len(ORGANIZATIONS)]) for turn in range(2)]

    statuses = [status for found in at_once(50, install) for status in found]
    assert set(statuses) == {200}
    state = storm.state
    storm.settle(state, ORGANIZATIONS)
    assert storm.rows() == len(ORGANIZATIONS)
    for name in ORGANIZATIONS:
        assert storm.platform.webhook(name, "device:device_updated", {"a": 1}).status == 200


@pytest.mark.parametrize("storm", ENGINES, indirect=True)
def test_every_acknowledged_install_is_there_after_a_kill(storm: Storm) -> None:
    server = storm.serve(processes=2, threads=8)
    acknowledged: list[str] = []
    ends = threading.Event()

    def install(number: int) -> None:
        turn = 0
        while not ends.is_set():
            name, turn = f"killed-{number}-{turn}", turn + 1
            # Some are accepted by the platform only after our answer: they wait as claims.
            activate = "after" if turn % 2 else "before"
            try:
                outcome = storm.platform.install(storm.url, name, client_id=CLIENT_ID, activate=activate)
            except AppCallError:
                continue
            if outcome.ok:
                acknowledged.append(name)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(install, number) for number in range(8)]
        while len(acknowledged) < 24:
            time.sleep(0.01)
        end(server)
        ends.set()
    for thread in running:
        thread.result()
    storm.serve(processes=2, threads=8)
    state = storm.state
    for name in acknowledged:
        platforms = storm.platform.installation(name, storm.url)
        # In this order: the servers prove claims meanwhile, and drop one once it is in force.
        waiting = [claim.shared_secret for claim in state.claims.of_organization(platforms.organization_id)]
        stored = state.organizations.get(platforms.organization_id)
        assert platforms.shared_secret in [*waiting, stored and stored.shared_secret]
    storm.settle(state, acknowledged)
    for name in acknowledged:
        assert storm.platform.webhook(name, "device:device_updated", {"a": 1}).status == 200
