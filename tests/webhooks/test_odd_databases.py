"""Databases that do not do what the inbox wants, and handlers that use them in their own way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import sessionmaker

from flask_orbro import Delivery, OrbroConnect
from flask_orbro.stores import inbox as stored
from flask_orbro.stores.delivery_record import DeliveryState
from flask_orbro.stores.transactions import ATTEMPTS

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
    assert is_problem(world.send(), 503)["code"] == "inbox_unavailable"
    assert 1 < sum("INSERT INTO connect_app_delivery" in statement for statement in tries) < ATTEMPTS
    go_on.set()
    world.wait_until(lambda: world.rows[0].state is DeliveryState.DONE)
    assert world.send().status_code == 202
