"""Every process of an app sweeps, and the platform is asked about each thing that is due once."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import sessionmaker

from flask_orbro import OrbroConnect
from flask_orbro.installation import Claim, Organization, State
from flask_orbro.protocol import CONNECT_PATH
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from ..conftest import need_service

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/"
PROCESSES = 4
#: Claims that are due, and organizations.
DUE = 4
#: How often each was asked about: the next gap is long, and nothing is due again while the test runs.
ASKED = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that all processes share."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shared.sqlite"
        return
    server = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    need_service("PostgreSQL", lambda: server.connect().close())
    name = f"orbro_test_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield POSTGRES + name
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = create_engine(url)
    yield made
    made.dispose()


def sweep_in_process(url: str, folder: str, config: dict[str, Any], start: Any) -> None:
    """One process of an app."""
    engine = create_engine(url)
    app = Flask("app", root_path=folder, instance_path=folder)
    app.config.update(config)
    OrbroConnect(app, db_session_maker=sessionmaker(engine))
    state = get_state(app)
    state.organizations.any_proven()  # connected
    start.wait()
    state.inquiry.sweep()
    state.close()
    engine.dispose()


def test_processes_that_sweep_at_once_ask_once_however_long_it_takes(
    engine: Engine,
    simulator: SimulatorServer,
    settings: dict[str, Any],
    make_app: Callable[..., Flask],
) -> None:
    config = settings | {"ORBRO_PROOF_TIMEOUT": 0.8}
    app = make_app(OrbroConnect(db_session_maker=sessionmaker(engine)), **config)
    state, now = get_state(app), time.time()
    for number in range(DUE):
        secret = f"{number}" * 40
        claim = Claim(f"c{number}", secret, f"d{number}", None, "acme", now, asked=ASKED, ask_at=now)
        organization = Organization(f"o{number}", State.ACTIVE, secret, "acme", asked=ASKED, ask_at=now)
        assert state.claims.add(claim)
        state.organizations.change(f"o{number}", lambda _, stored=organization: stored)
    asked: list[str] = []
    inner = simulator.app.wsgi_app

    def counting(environ: dict[str, Any], start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    simulator.app.wsgi_app = counting  # type: ignore[method-assign]
    simulator.platform.faults.set(CONNECT_PATH, delay=2)

    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES)
    arguments = (engine.url.render_as_string(), app.instance_path, config, start)
    processes = [context.Process(target=sweep_in_process, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    deadline = time.monotonic() + 10
    while len(asked) < 2 * DUE and time.monotonic() < deadline:
        time.sleep(0.05)  # a busy platform sees a question after it was given up
    assert asked == [CONNECT_PATH] * 2 * DUE
    waiting = [state.claims.get(f"c{number}", f"d{number}") for number in range(DUE)]
    assert [claim and claim.asked for claim in waiting] == [ASKED + 1] * DUE
    assert [found.asked for found in state.organizations.all()] == [ASKED + 1] * DUE
