"""``flask orbro deliveries`` and ``sweep``: what they print, and what they have done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from click.testing import Result

from benchmarks.inbox.tcp_proxy import TcpProxy
from flask_orbro import Delivery, OrbroConnect, webhook_required
from flask_orbro.cli import orbro as commands
from flask_orbro.stores.delivery_record import DeliveryRecord, DeliveryState

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


@pytest.mark.parametrize("state", list(DeliveryState))
def test_only_what_is_done_can_have_been_taken_by_no_handler(world: InboxWorld, state: DeliveryState) -> None:
    world.send("other:event")
    world.send()
    unhandled, _ = world.rows
    listed = run(world, "deliveries", "--json", "--unhandled", "--state", state.value)
    if state is DeliveryState.DONE:
        assert json.loads(listed.output)["id"] == unhandled.id
    else:
        assert (listed.exit_code, f"--state {state.value}" in listed.output) == (2, True)


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


@pytest.mark.parametrize("number", ["0", str(2**63), "9" * 23])
@pytest.mark.parametrize("command", ["show", "redeliver"])
def test_a_number_that_no_delivery_can_have_is_refused(world: InboxWorld, command: str, number: str) -> None:
    assert run(world, "deliveries", command, str(2**63 - 1)).exit_code == 1
    refused = run(world, "deliveries", command, number)
    assert (refused.exit_code, f"{number} is not in the range" in refused.output) == (2, True)


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


def test_a_sweep_drops_what_views_have_kept_for_long_enough(
    make_inbox_world: Callable[..., InboxWorld],
) -> None:
    world = make_inbox_world(
        views={"/webhook/once": (webhook_required(deduplicate=True), dict)},
        ORBRO_INBOX_MAX_AGE=3600.0,
        ORBRO_WEBHOOK_DUPLICATE_WINDOW=3600.0,
    )
    world.send(path="/webhook/once")
    assert run(world, "sweep").exit_code == 0
    assert len(world.rows) == 1
    world._ahead += 3700
    assert run(world, "sweep").exit_code == 0
    assert world.rows == []


@pytest.mark.parametrize(
    ("trouble", "arguments"),
    [
        ("cut", ("sweep",)),
        ("cut", ("deliveries", "redeliver", "1")),
        ("hang", ("deliveries", "redeliver", "1")),
        ("hang", ("deliveries", "redeliver", "--all-dead")),
    ],
)
def test_a_command_gives_up_on_a_broker_that_is_gone(
    make_inbox_world: Callable[..., InboxWorld],
    handler: Handler,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    arguments: tuple[str, ...],
) -> None:
    sweeping = "sweep" in arguments
    monkeypatch.setattr(import_module("flask_orbro.cli.deliveries"), "BROKER_PATIENCE", 0.5)
    with TcpProxy(6379) as proxy:
        getattr(proxy, trouble)()
        world = make_inbox_world(
            handlers=handler.register,
            ORBRO_WORKER="celery",
            ORBRO_CELERY_BROKER_URL=f"redis://127.0.0.1:{proxy.port}/9",
        )
        world.inbox.store.receive(
            DeliveryRecord(
                organization_id="o", user_id=None, event=EVENT, path=EVENTS, payload=b"{}", headers={},
                trace_id="t", digest="d", received_at=0, next_attempt_at=0 if sweeping else None,
                state=DeliveryState.RECEIVED if sweeping else DeliveryState.DEAD,
            ),
            window=0,
        )  # fmt: skip
        began = time.monotonic()
        result = run(world, *arguments)
        assert time.monotonic() - began < 10
    assert result.exit_code == 1
    assert "The broker is out of reach" in result.output
    row = world.rows[0]
    assert row.state is DeliveryState.RECEIVED
    assert row.next_attempt_at is not None
    assert row.next_attempt_at <= time.time()
