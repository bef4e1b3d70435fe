"""Databases that do not do what the inbox wants, and handlers that use them in their own way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import sessionmaker

from flask_orbro import Delivery, OrbroConnect
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state
from flask_orbro.stores import inbox as stored
from flask_orbro.stores.delivery_record import DeliveryState
from flask_orbro.stores.transactions import ATTEMPTS

from ..conftest import CLIENT_ID
from ..world import is_problem
from .conftest import EVENT, EVENTS, InboxWorld

MakeWorld = Callable[..., InboxWorld]
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/app.sqlite", connect_args={"timeout": 0.1})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE note (text TEXT)"))
    yield engine
    engine.dispose()


@both_modes
def test_a_constraint_of_the_users_own_is_503_and_said(
    make_inbox_world: MakeWorld, engine: Engine, testing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    orbro = OrbroConnect(db_session_maker=sessionmaker(engine))
    orbro.on(EVENT, path=EVENTS)(lambda delivery: None)
    world = make_inbox_world(orbro=orbro, TESTING=testing)
    assert world.send().status_code == 202
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER refusing BEFORE INSERT ON connect_app_delivery "
                "BEGIN SELECT raise(ABORT, 'the accountant says no'); END"
            )
        )
    assert is_problem(world.send(json={"private": 1}), 503)["code"] == "inbox_unavailable"
    assert "could not be kept: (sqlite3.IntegrityError) the accountant says no" in caplog.text
    assert "private" not in caplog.text


def test_a_handler_that_holds_the_database_keeps_no_sender_waiting_for_long(
    make_inbox_world: MakeWorld, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 0.3)
    holds, go_on = threading.Event(), threading.Event()
    orbro = OrbroConnect(db_session_maker=sessionmaker(engine))

    @orbro.on(EVENT, path=EVENTS)
    def handler(delivery: Delivery) -> None:
        delivery.session.execute(text("INSERT INTO note VALUES ('x')"))
        holds.set()
        go_on.wait(20)

    world = make_inbox_world(orbro=orbro, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=1)
    world.send()
    assert holds.wait(10)
    tries: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *seen: tries.append(seen[2]))
    assert is_problem(world.send(), 503)["code"] == "database_unavailable"
    assert 1 < sum("INSERT INTO connect_app_delivery" in statement for statement in tries) < ATTEMPTS
    go_on.set()
    world.wait_until(lambda: world.rows[0].state is DeliveryState.DONE)
    assert world.send().status_code == 202


# db.session.remove() in a handler.


def removing(db: SQLAlchemy, first: str, then: str) -> Callable[[Delivery], None]:
    """A handler that removes the session, then writes in the one named first, and uses the other."""
    statements = {first: "INSERT INTO note VALUES ('x')"}

    def handler(delivery: Delivery) -> None:
        db.session.remove()
        sessions: dict[str, Any] = {"delivery": delivery.session, "db": db.session}
        for name in filter(None, (first, then)):
            sessions[name].execute(text(statements.get(name, "SELECT 1")))

    return handler


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("first", "then", "notes", "state"),
    [
        ("", "", 0, DeliveryState.DONE),
        ("db", "db", 2, DeliveryState.DONE),
        ("delivery", "", 1, DeliveryState.DONE),
        ("delivery", "db", 0, DeliveryState.FAILED),
    ],
)
def test_what_a_handler_does_after_it_removed_the_session_is_not_lost(
    make_app: Callable[..., Flask],
    simulator: SimulatorServer,
    serving: Callable[[Flask], str],
    engine: Engine,
    asynchronous: bool,
    first: str,
    then: str,
    notes: int,
    state: DeliveryState,
) -> None:
    db = SQLAlchemy()
    orbro = OrbroConnect(db=db)
    handler = removing(db, first, then)

    async def handler_async(delivery: Delivery) -> None:
        handler(delivery)

    orbro.on(EVENT, path=EVENTS)(handler_async if asynchronous else handler)
    app = make_app(orbro, SQLALCHEMY_DATABASE_URI=engine.url, ORBRO_WORKER="inline")
    db.init_app(app)
    with app.app_context():
        db.create_all()
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    assert simulator.platform.webhook("acme", EVENT, path=EVENTS).status == 202
    (row,) = get_state(app).inbox.store.find()
    assert row.state is state
    assert "two sessions" in str(row.last_error) or state is DeliveryState.DONE
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM note")) == notes
