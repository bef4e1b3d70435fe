"""``flask orbro deliveries``, ``worker`` and ``sweep``: what they print, and what they have done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from flask_orbro import Delivery, OrbroConnect, webhook_required
from flask_orbro.cli import orbro as commands
from flask_orbro.models import map_models
from flask_orbro.storage import sqlite_file
from flask_orbro.stores.delivery_record import DeliveryRecord, DeliveryState
from flask_orbro.stores.inbox import InboxStore

from .conftest import EVENT, EVENTS, InboxWorld


class Handler:
    """Fails while it is told to."""

    def __init__(self) -> None:
        self.fails = True
        self.runs = 0

    def register(self, orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, max_attempts=1)
        def handler(delivery: Delivery) -> None:
            self.runs += 1
            if self.fails:
                raise ValueError("\x1b[31mshared_secret=hunter2\n second line")


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def world(make_inbox_world: Callable[..., InboxWorld], handler: Handler) -> InboxWorld:
    return make_inbox_world(
        handlers=handler.register, views={"/webhook/once": (webhook_required(deduplicate=True), dict)}
    )


def run(world: InboxWorld, *arguments: str) -> Result:
    result = world.app.test_cli_runner().invoke(commands, list(arguments))
    assert "Traceback" not in result.output
    return result


def records(world: InboxWorld, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(world, "deliveries", "--json", *arguments).output.splitlines()]


def test_deliveries_are_listed_newest_first_and_by_what_is_asked(world: InboxWorld, handler: Handler) -> None:
    world.send()
    handler.fails = False
    world.send(reading={"\u0000": "\ud83d\ude00"})
    first, second = world.rows
    assert [record["id"] for record in records(world)] == [second.id, first.id]
    assert [record["id"] for record in records(world, "--state", "dead")] == [first.id]
    assert [record["id"] for record in records(world, "--organization", world.organization_id)] == [
        second.id,
        first.id,
    ]
    assert records(world, "--organization", "nobody") == []
    assert [record["id"] for record in records(world, "--limit", "1")] == [second.id]
    dead = records(world, "--state", "dead")[0]
    assert dead["received_at"].endswith("+00:00")
    assert (dead["event"], dead["attempts"], dead["organization_id"]) == (EVENT, 1, world.organization_id)
    assert not {"payload", "headers", "digest"} & set(dead)
    listed = run(world, "deliveries").output
    assert len(listed.splitlines()) == 2
    assert "\x1b" not in listed
    assert "hunter2" not in listed


def test_one_delivery_is_shown_whole(world: InboxWorld) -> None:
    world.send(reading={"a": "\ud800\u0000"}, headers={"X-Note": "n"})
    row = world.rows[0]
    shown = run(world, "deliveries", "show", str(row.id)).output
    assert "\x1b" not in shown
    assert f"trace_id: {row.trace_id}" in shown
    assert '"X-Note": "n"' in shown
    told = json.loads(run(world, "deliveries", "show", "--json", str(row.id)).output)
    assert told["payload"]["data"] == {"a": "\ud800\u0000"}
    assert "Authorization" not in told["headers"]
    missing = run(world, "deliveries", "show", "999")
    assert (missing.exit_code, missing.output) == (1, "Error: There is no delivery 999.\n")


def test_one_is_redelivered_here_and_now(world: InboxWorld, handler: Handler) -> None:
    world.send()
    row = world.rows[0]
    result = run(world, "deliveries", "redeliver", str(row.id))
    assert "1 delivery is dead." in result.output
    handler.fails = False
    result = run(world, "deliveries", "redeliver", str(row.id))
    assert "1 delivery is done." in result.output
    assert (world.rows[0].state, world.rows[0].attempts) == (DeliveryState.DONE, 1)
    run(world, "deliveries", "redeliver", str(row.id))
    assert handler.runs == 4


def test_all_that_is_dead_is_redelivered(world: InboxWorld, handler: Handler) -> None:
    for _ in range(25):
        world.send()
    handler.fails = False
    world.send()
    result = run(world, "deliveries", "redeliver", "--all-dead")
    assert "25 deliveries are done." in result.output
    assert {row.state for row in world.rows} == {DeliveryState.DONE}
    assert handler.runs == 25 + 1 + 25


def test_redelivering_needs_to_be_told_what(world: InboxWorld) -> None:
    assert run(world, "deliveries", "redeliver").exit_code == 2
    assert run(world, "deliveries", "redeliver", "1", "--all-dead").exit_code == 2
    assert run(world, "deliveries", "redeliver", "999").exit_code == 1
    world.send(path="/webhook/once")
    result = run(world, "deliveries", "redeliver", str(world.rows[0].id))
    assert result.exit_code == 1
    assert "No handler is registered at /webhook/once" in result.output
    assert world.rows[0].state is DeliveryState.DONE


def test_one_that_is_being_handled_is_left_alone(world: InboxWorld, handler: Handler) -> None:
    world.send()
    row = world.rows[0]
    world.inbox.store.redeliver(row.id, now=time.time())
    world.inbox.store.claim(row.id, lease="somebody", until=time.time() + 100)
    assert "being handled by somebody else" in run(world, "deliveries", "redeliver", str(row.id)).output
    assert handler.runs == 1


def test_a_sweep_handles_what_is_due(make_inbox_world: Callable[..., InboxWorld], handler: Handler) -> None:
    handler.fails = False
    world = make_inbox_world(handlers=handler.register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=0)
    for _ in range(30):
        assert world.send().status_code == 202
    assert {row.state for row in world.rows} == {DeliveryState.RECEIVED}
    result = run(world, "sweep")
    assert "30 deliveries are done." in result.output
    assert {row.state for row in world.rows} == {DeliveryState.DONE}


def test_a_worker_needs_handlers(make_inbox_world: Callable[..., InboxWorld]) -> None:
    result = run(make_inbox_world(), "worker")
    assert (result.exit_code, "no handlers" in result.output) == (1, True)


PROGRAM = """
import os, time
from pathlib import Path
from flask import Flask
from flask_orbro import OrbroConnect

folder = os.environ["FOLDER"]
app = Flask("program", root_path=folder, instance_path=folder)
app.config.from_prefixed_env()
orbro = OrbroConnect(app)

@orbro.on("e", path="/e")
def handler(delivery):
    time.sleep(delivery.payload)
    Path(folder, f"done-{delivery.id}").touch()
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_process_works_the_inbox_until_it_is_told_to_end(tmp_path: Path, signal_number: int) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "connect.json").write_text('{"id": "x"}')

    class Base(DeclarativeBase):
        pass

    engine = create_engine(f"sqlite:///{tmp_path}/{sqlite_file('c')}")
    models = map_models(Base)
    Base.metadata.create_all(engine)
    store = InboxStore(sessionmaker(engine), models)

    def put(digest: str, seconds: float) -> int:
        new = DeliveryRecord(
            organization_id="o", user_id=None, event="e", path="/e", payload=json.dumps(seconds).encode(),
            headers={}, trace_id="t", digest=digest, received_at=time.time(), next_attempt_at=time.time(),
        )  # fmt: skip
        return store.receive(new, window=60).id

    for number in range(5):
        put(str(number), 0)
    settings = {"CLIENT_ID": "c", "CLIENT_SECRET": "s" * 40}
    environment = os.environ | {f"FLASK_ORBRO_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "program", "orbro", "worker", "--threads", "2"],
        cwd=tmp_path,
        env=environment | {"FOLDER": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def wait_for(count: int, state: DeliveryState) -> None:
        deadline = time.monotonic() + 30
        while store.count(state) != count:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.05)

    wait_for(5, DeliveryState.DONE)
    slow = put("slow", 1)
    wait_for(1, DeliveryState.PROCESSING)
    process.send_signal(signal_number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Finishing what is under way." in output
    assert (tmp_path / f"done-{slow}").exists()
    assert store.count(DeliveryState.DONE) == 6
    engine.dispose()


def test_what_nobody_took_is_found_and_handled_later(world: InboxWorld, handler: Handler) -> None:
    handler.fails = False
    world.send()
    assert world.send("later:event").status_code == 202
    unhandled = world.rows[1]
    assert [record["id"] for record in records(world, "--unhandled")] == [unhandled.id]
    assert (unhandled.state, unhandled.last_error) == (DeliveryState.DONE, "No handler took it.")
    seen: list[Any] = []
    world.orbro.on("later:event", path=EVENTS)(lambda delivery: seen.append(delivery.id))
    assert "1 delivery is done." in run(world, "deliveries", "redeliver", str(unhandled.id)).output
    assert seen == [unhandled.id]
    assert records(world, "--unhandled") == []


def test_a_new_handler_can_have_what_is_done_without_the_old_one(world: InboxWorld, handler: Handler) -> None:
    handler.fails = False
    world.send()
    seen: list[Any] = []
    world.orbro.on(EVENT, path=EVENTS)(lambda delivery: seen.append(delivery.id))
    number = str(world.rows[0].id)
    for options, runs in (("--new-handlers",), (1, 1)), (("--new-handlers",), (1, 1)), ((), (2, 2)):
        assert "1 delivery is done." in run(world, "deliveries", "redeliver", number, *options).output
        assert (handler.runs, len(seen)) == runs
