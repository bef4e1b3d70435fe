"""A database out of reach: every request is told to come again, and the log says why."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import sessionmaker

from flask_orbro.cli import orbro as commands
from flask_orbro.errors import ServiceUnavailable
from flask_orbro.models import own_models
from flask_orbro.simulator import SimulatorServer
from flask_orbro.stores.inbox import InboxStore
from flask_orbro.stores.organizations import OrganizationStore
from flask_orbro.stores.presence import Presence
from flask_orbro.stores.records import Records
from flask_orbro.stores.transactions import Conflict, in_transaction

from ..conftest import bearer
from ..world import is_problem
from .conftest import KEYS, NOW
from .test_outdated_database import READING
from .test_outdated_database import app as app  # the same one, over another engine


@pytest.fixture(params=["sqlite", "postgresql+psycopg", "mysql+pymysql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database that nobody serves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = f"{request.param}://somebody:hidden@127.0.0.1:{port}/nothing"
    engine = sa.create_engine(f"sqlite:///{tmp_path}/no/where" if request.param == "sqlite" else server)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("testing", [True, False])
def test_every_request_is_told_to_come_again(
    app: Flask,
    simulator: SimulatorServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    testing: bool,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    app.testing = testing
    client = app.test_client()
    headers = bearer(simulator.platform.user_token("acme")) | {"sub": "acme"}
    answers = [client.get(path, headers=headers) for path in ("/resource", "/view", "/async")]
    install = {"organization_id": "o", "shared_secret": "s" * 40, "subdomain": "acme"}
    answers.append(client.post("/installed", json=install))
    for path in ("/uninstalled", "/enabled", "/disabled"):
        answers.append(client.post(path, json={"organization_id": "o"}))
    for answer in answers:
        assert is_problem(answer, 503)["code"] == "database_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        assert "somebody" not in answer.text
    assert caplog.text.count("The database cannot be used: OperationalError") == len(answers)
    assert "hidden" not in caplog.text
    assert "s" * 40 not in caplog.text


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_looks_into_the_inbox_says_so(
    app: Flask, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    refused = app.test_cli_runner().invoke(commands, command)
    assert isinstance(refused.exception, SystemExit)
    assert refused.exit_code == 1
    assert "OperationalError" in refused.output
    assert "hidden" not in refused.output


def test_when_a_sweep_is_due_is_asked_for_again_and_then_given_up(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(ServiceUnavailable) as caught:
        InboxStore(sessionmaker(engine), own_models()).next_due()
    assert caught.value.reason == "database_unavailable"


def test_a_row_that_others_always_change_first_is_no_failure_of_the_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    tries: list[int] = []

    def work(_session: object) -> None:
        tries.append(1)
        raise Conflict

    engine = sa.create_engine("sqlite://")
    with pytest.raises(ServiceUnavailable) as caught:
        in_transaction(sessionmaker(engine), work)
    engine.dispose()
    assert caught.value.reason == "database_unavailable"
    assert len(tries) > 1


def test_a_pool_without_a_free_connection_is_no_failure_of_the_app(tmp_path: Path) -> None:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path}/small.sqlite", pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    with engine.connect(), pytest.raises(ServiceUnavailable) as caught:
        in_transaction(sessionmaker(engine), lambda session: session.execute(sa.text("select 1")))
    engine.dispose()
    assert caught.value.reason == "database_unavailable"


def test_when_somebody_was_seen_is_written_once_and_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    models = own_models()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/busy.sqlite", connect_args={"timeout": 0.05})
    models.client_info.metadata.create_all(engine)
    presence = Presence(OrganizationStore(sessionmaker(engine), models, Records(KEYS)), lambda: NOW)
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        presence.note("o1")
    engine.dispose()
    assert caplog.text.count("That o1 was seen could not be written") == 1
    assert naps == []
