"""Deliveries to handlers, over HTTP: kept, acknowledged, and handled in their app."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app
from flask_restx import Api
from flask_sqlalchemy import SQLAlchemy
from openapi_spec_validator import validate
from sqlalchemy import create_engine
from sqlalchemy import event as engine_event
from sqlalchemy.orm import sessionmaker

from flask_orbro import Delivery, OrbroConnect, current_delivery, current_organization
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state
from flask_orbro.stores.delivery_record import UNHANDLED, DeliveryState

from ..conftest import CLIENT_ID, bearer
from ..platform.test_ways import connections_to
from ..world import is_problem
from .conftest import EVENT, EVENTS, InboxWorld

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])
MakeWorld = Callable[..., InboxWorld]


def keeping(seen: list[Any], event: str = EVENT, **options: Any) -> Callable[[OrbroConnect], None]:
    """Registers a handler that keeps what it was given."""

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(event, path=EVENTS, **options)
        def keep(delivery: Delivery) -> None:
            seen.append(delivery)

    return register


@both_modes
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("worker", ["inline", "thread"])
def test_a_delivery_is_kept_acknowledged_and_handled(
    make_inbox_world: MakeWorld, testing: bool, asynchronous: bool, worker: str
) -> None:
    seen: list[Any] = []

    def told(delivery: Delivery) -> None:
        users = orbro.client.get("/api/v1/users").raise_for_status().json()["data"]
        seen.append(
            (current_app.name, current_organization.organization_id, current_delivery.id, users, delivery)
        )

    async def told_later(delivery: Delivery) -> None:
        users = (await orbro.async_client().get("/api/v1/users")).json()["data"]
        seen.append(
            (current_app.name, current_organization.organization_id, current_delivery.id, users, delivery)
        )

    orbro = OrbroConnect()
    orbro.on(EVENT, path=EVENTS)(told_later if asynchronous else told)
    world = make_inbox_world(orbro=orbro, TESTING=testing, ORBRO_WORKER=worker)
    answer = world.send(reading={"a": 1}, headers={"X-Note": "n", "Cookie": "sid=1", "X-Api-Key": "k"})
    assert answer.status_code == 202
    assert answer.json == {"id": world.rows[0].id, "state": "received"}
    world.wait_until(lambda: world.rows[0].state is DeliveryState.DONE)
    ((app_name, organization_id, delivery_id, users, delivery),) = seen
    assert (app_name, organization_id) == (world.app.name, world.organization_id)
    assert users[0]["email"] == "admin@acme.example"
    assert (delivery.id, delivery_id) == (world.rows[0].id, world.rows[0].id)
    assert (delivery.organization_id, delivery.event, delivery.path) == (world.organization_id, EVENT, EVENTS)
    assert delivery.payload["data"] == {"a": 1}
    assert delivery.headers["X-Note"] == "n"
    assert not {"Authorization", "Cookie", "X-Api-Key"} & set(delivery.headers)
    assert abs(delivery.received_at - time.time()) < 10
    row = world.rows[0]
    assert (row.attempts, row.next_attempt_at, row.last_error) == (1, None, None)
    assert row.duration is not None


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("worker", ["inline", "thread"])
def test_the_event_loops_of_handlers_share_connections(
    make_inbox_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, asynchronous: bool, worker: str
) -> None:
    orbro = OrbroConnect()

    async def call() -> None:
        (await orbro.async_client().get("/api/v1/users")).raise_for_status()

    @orbro.on(EVENT, path=EVENTS)
    def told(delivery: Delivery) -> None:
        asyncio.run(call())

    @orbro.on("device:device_updated", path=EVENTS)
    async def told_later(delivery: Delivery) -> None:
        await call()

    world = make_inbox_world(orbro=orbro, ORBRO_WORKER=worker, ORBRO_WORKER_THREADS=1)
    opened = connections_to(world, monkeypatch)
    for _ in range(8):
        world.send("device:device_updated" if asynchronous else EVENT)
    world.wait_until(lambda: all(row.state is DeliveryState.DONE for row in world.rows))
    assert (len(world.rows), len(opened)) == (8, 1)


def test_it_is_committed_before_it_is_answered_and_handled_after(make_inbox_world: MakeWorld) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS)
        def wait(delivery: Delivery) -> None:
            begun.set()
            assert go_on.wait(10)

    world = make_inbox_world(handlers=register, ORBRO_WORKER="thread")
    assert world.send().status_code == 202
    assert begun.wait(10)
    assert world.rows[0].state is DeliveryState.PROCESSING
    go_on.set()
    world.wait_until(lambda: world.rows[0].state is DeliveryState.DONE)


@both_modes
def test_a_caller_without_a_right_token_leaves_nothing(make_inbox_world: MakeWorld, testing: bool) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen), TESTING=testing)
    is_problem(world.send(token="nonsense"), 401)
    is_problem(world.client.post(EVENTS, json={}), 401)
    is_problem(world.send(data="{", content_type="application/json"), 400)
    is_problem(world.send(data="{}", content_type="text/plain"), 415)
    is_problem(world.client.get(EVENTS), 405)
    is_problem(world.send(json={"a": "x" * 2_000_000}), 413)
    assert (world.rows, seen) == ([], [])


@both_modes
def test_a_database_that_does_not_take_it_is_503(make_inbox_world: MakeWorld, testing: bool) -> None:
    world = make_inbox_world(handlers=keeping([]), TESTING=testing)
    assert world.send().status_code == 202
    with world.inbox.store._sessions() as session:
        engine_event.listen(session.get_bind(), "begin", lambda c: c.exec_driver_sql("PRAGMA query_only=ON"))
    answer = world.send()
    assert is_problem(answer, 503)["code"] == "database_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert "INSERT" not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("patterns", "sent", "run"),
    [
        (["device:*"], "device:device_updated", ["device:*"]),
        (["device:*", "*", "user:*"], "device:device_updated", ["device:*", "*"]),
        (["device:device_?pdated"], "device:device_updated", ["device:device_?pdated"]),
        (["device:[cd]*"], "device:device_updated", ["device:[cd]*"]),
        (["device:[ab]*"], "device:device_updated", []),
        (["Device:*"], "device:device_updated", []),
        (["a", "b"], "b", ["b"]),
    ],
)
def test_every_handler_of_an_event_is_run(
    make_inbox_world: MakeWorld, patterns: list[str], sent: str, run: list[str]
) -> None:
    seen: list[str] = []

    def register(orbro: OrbroConnect) -> None:
        for pattern in patterns:

            def handler(delivery: Delivery, pattern: str = pattern) -> None:
                seen.append(pattern)

            handler.__qualname__ = f"handler of {pattern}"
            orbro.on(pattern, path=EVENTS)(handler)

    world = make_inbox_world(handlers=register)
    assert world.send(sent).status_code == 202
    assert seen == run
    assert world.rows[0].state is DeliveryState.DONE


def test_one_function_for_two_patterns_is_run_once(make_inbox_world: MakeWorld) -> None:
    seen: list[Any] = []

    def register(orbro: OrbroConnect) -> None:
        @orbro.on("device:*", path=EVENTS)
        @orbro.on("*", path=EVENTS)
        def keep(delivery: Delivery) -> None:
            seen.append(delivery)

    world = make_inbox_world(handlers=register)
    world.send()
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("payload", "handled"),
    [
        ({"profile_id": "A"}, True),
        ({"profile_id": "B"}, False),
        ({"data": {"profile_id": "A"}}, True),
        ({"data": {"profile_id": "B"}}, False),
        ({"data": {"other": 1}}, True),
        ({"data": ["profile_id"]}, True),
        ([1, 2], True),
    ],
)
def test_a_property_that_a_payload_shows_must_be_the_value(
    make_inbox_world: MakeWorld, payload: Any, handled: bool
) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen, property="profile_id", value="A"))
    assert world.send(json=payload).status_code == 202
    assert len(seen) == handled


@pytest.mark.parametrize("value", [0, 1, 1.0, False, True])
def test_a_truth_value_is_no_number(make_inbox_world: MakeWorld, value: Any) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen, property="p", value=value))
    for shown in ("0", "false", "1", "true", "1.0", "0.0", "[1]"):
        world.send(data=f'{{"data": {{"p": {shown}}}}}', content_type="application/json")
    taken = {json.dumps(delivery.payload["data"]["p"]) for delivery in seen}
    equal = {json.dumps(value)} if isinstance(value, bool) else {str(int(value)), str(float(value))}
    assert taken == equal


@pytest.mark.parametrize(
    ("key", "payload", "event"),
    [
        ("event_name", {"event_name": "other:event"}, "other:event"),
        ("event_name", {"event": "other:event"}, EVENT),
        ("event_name", {"event_name": 5}, EVENT),
        ("event_name", {"event_name": None}, EVENT),
        ("event_name", {"event_name": "a\x00b"}, EVENT),
        ("event_name", {"event_name": "\ud800"}, EVENT),
        ("event_name", {"event_name": "x" * 256}, EVENT),
        ("event_name", "text", EVENT),
        ("event_name", [EVENT], EVENT),
        ("meta.event", {"meta": {"event": "other:event"}}, "other:event"),
        ("meta.event", {"meta": "event"}, EVENT),
    ],
)
def test_the_event_is_the_payloads_else_the_paths(
    make_inbox_world: MakeWorld, key: str, payload: Any, event: str
) -> None:
    world = make_inbox_world(handlers=keeping([]), ORBRO_WEBHOOK_EVENT_KEY=key)
    body = {"data": json.dumps(payload), "content_type": "application/json"}
    assert world.send(**body).status_code == 202
    assert [row.event for row in world.rows] == [event]


@pytest.mark.parametrize("event", ["*", "device:*"])
def test_a_pattern_that_the_property_alone_refuses_has_nothing_to_be_dead_of(
    make_inbox_world: MakeWorld, event: str
) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen, event, property="profile_id", value="A"))
    world.send(json={"data": {"profile_id": "B"}})
    assert seen == []
    assert (world.rows[0].state, world.rows[0].last_error) == (DeliveryState.DONE, UNHANDLED)


def test_an_event_that_nobody_knows_is_left_to_a_person(make_inbox_world: MakeWorld) -> None:
    seen: list[Any] = []

    def register(orbro: OrbroConnect) -> None:
        orbro.on("a", path=EVENTS)(lambda delivery: seen.append("a"))
        keeping(seen, "b")(orbro)

    world = make_inbox_world(handlers=register)
    world.send(json={"what": 1})
    assert seen == []
    assert world.rows[0].state is DeliveryState.DEAD
    assert "ORBRO_WEBHOOK_EVENT_KEY" in str(world.rows[0].last_error)


@pytest.mark.parametrize(
    "payload", ['{"a": "\\u0000\\ud800"}', '"\\ud83d\\ude00"', f'["{"x" * 200_000}"]', "1e400"]
)
def test_strange_payloads_survive_or_are_refused(make_inbox_world: MakeWorld, payload: str) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen))
    answer = world.send(data=payload, content_type="application/json")
    if answer.status_code == 202:
        assert seen[0].payload == json.loads(payload)
        kept = world.inbox.store.get(world.rows[0].id)
        assert kept is not None
        assert kept.payload == payload.encode()
    else:
        is_problem(answer, 400)


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, "a" * 32),
        ({"traceparent": "nonsense", "X-Request-Id": "r-1"}, "r-1"),
        ({"X-Request-Id": "r" * 65}, None),
        ({"X-Request-Id": "with space"}, None),
        ({}, None),
    ],
)
def test_a_delivery_keeps_the_senders_trace(
    make_inbox_world: MakeWorld, headers: dict[str, str], trace: str | None
) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen))
    world.send(headers=headers)
    assert seen[0].trace_id == world.rows[0].trace_id
    assert seen[0].trace_id == trace if trace else len(seen[0].trace_id) == 32


# Duplicates.


def test_an_equal_delivery_is_kept_as_a_duplicate_and_not_handled(make_inbox_world: MakeWorld) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen))
    token, other = world.platform.webhook_token("acme"), world.platform.webhook_token("acme", expires_in=99)
    body = {"json": {"event_name": EVENT}}
    assert world.send(token=token, **body).json["state"] == "received"
    assert world.send(token=token, **body).json["state"] == "duplicate"
    assert world.send(token=other, **body).json["state"] == "received"
    assert world.send(token=token, json={"event_name": EVENT, "a": 1}).json["state"] == "received"
    assert len(seen) == 3
    assert [row.duplicate_of for row in world.rows] == [None, world.rows[0].id, None, None]


def test_after_the_window_an_equal_one_is_handled_again(make_inbox_world: MakeWorld) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=keeping(seen), ORBRO_WEBHOOK_DUPLICATE_WINDOW=100)
    token, body = world.platform.webhook_token("acme"), {"json": {"event_name": EVENT}}
    for after, state in ((0, "received"), (99, "duplicate"), (2, "received"), (0, "duplicate")):
        world._ahead += after
        assert world.send(token=token, **body).json["state"] == state
    assert len(seen) == 2


def test_the_same_body_at_another_path_is_no_duplicate(make_inbox_world: MakeWorld) -> None:
    seen: list[str] = []

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path="/one")
        def one(delivery: Delivery) -> None:
            seen.append("one")

        @orbro.on(EVENT, path="/two")
        def two(delivery: Delivery) -> None:
            seen.append("two")

    world = make_inbox_world(handlers=register)
    token, body = world.platform.webhook_token("acme"), {"json": {"event_name": EVENT}}
    for path in ("/one", "/two", "/one"):
        world.send(path=path, token=token, **body)
    assert seen == ["one", "two"]


def test_duplicates_are_found_by_another_process_and_after_a_restart(
    make_inbox_world: MakeWorld, make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    seen: list[Any] = []
    sessions = sessionmaker(create_engine(f"sqlite:///{tmp_path}/shared.sqlite"))
    world = make_inbox_world(orbro=OrbroConnect(db_session_maker=sessions), handlers=keeping(seen))
    orbro = OrbroConnect(db_session_maker=sessions)
    keeping(seen)(orbro)
    other = make_app(orbro, ORBRO_WORKER="inline").test_client()
    token = world.platform.webhook_token("acme")
    for client in (world.client, other, world.client):
        assert client.post(EVENTS, json={"a": 1}, headers=bearer(token)).status_code == 202
    assert len(seen) == 1
    assert [row.state.value for row in world.rows] == ["done", "duplicate", "duplicate"]


# Where handlers are registered.


def test_handlers_may_come_before_and_after_init_app(make_inbox_world: MakeWorld) -> None:
    seen: list[str] = []
    orbro = OrbroConnect()

    @orbro.on(EVENT, path=EVENTS)
    def before(delivery: Delivery) -> None:
        seen.append("before")

    world = make_inbox_world(orbro=orbro, install=False)

    @orbro.on(EVENT, path=EVENTS)
    @orbro.on(EVENT, path="/webhook/more")
    def after(delivery: Delivery) -> None:
        seen.append("after")

    world.install()
    world.send()
    world.send(path="/webhook/more")
    assert seen == ["before", "after", "after"]


def test_two_apps_of_one_extension_do_not_mix(
    make_inbox_world: MakeWorld, make_app: Callable[..., Flask], serving: Callable[[Flask], str]
) -> None:
    seen: list[tuple[str, str]] = []
    orbro = OrbroConnect()

    @orbro.on(EVENT, path=EVENTS)
    def both(delivery: Delivery) -> None:
        seen.append(("both", current_app.name))

    one = make_inbox_world(orbro=orbro, install=False)
    two = make_app(orbro, ORBRO_WORKER="inline")

    @orbro.on(EVENT, path=EVENTS, app=two)
    def second(delivery: Delivery) -> None:
        seen.append(("second", current_app.name))

    @orbro.on(EVENT, path="/late")
    def late(delivery: Delivery) -> None:
        seen.append(("late", current_app.name))

    url = serving(two)
    one.install()
    assert one.platform.install(url, "acme", client_id=CLIENT_ID).ok
    assert one.platform.webhook("acme", EVENT, path=EVENTS, app_url=url).status == 202
    assert seen == [("both", two.name), ("second", two.name)]
    assert one.rows == []
    seen.clear()
    assert one.platform.webhook("acme", EVENT, path=EVENTS, app_url=one.url).status == 202
    assert seen == [("both", one.app.name)]
    assert [len(get_state(app).inbox.store.find()) for app in (one.app, two)] == [1, 1]
    for app_url in (one.url, url):
        assert one.platform.webhook("acme", EVENT, path="/late", app_url=app_url).status == 202
    assert seen[1:] == [("late", one.app.name), ("late", two.name)]


@pytest.fixture(params=["flask-sqlalchemy", "sessionmaker", "own sqlite"])
def orbro(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[OrbroConnect, Callable[[Flask], None]]]:
    """The extension on each kind of database, and what prepares the app for it."""
    if request.param == "own sqlite":
        yield OrbroConnect(), lambda app: None
    elif request.param == "sessionmaker":
        engine = create_engine(f"sqlite:///{tmp_path}/maker.sqlite")
        yield OrbroConnect(db_session_maker=sessionmaker(engine)), lambda app: None
        engine.dispose()
    else:
        db = SQLAlchemy()

        def prepare(app: Flask) -> None:
            db.init_app(app)
            with app.app_context():
                db.create_all()

        yield OrbroConnect(db=db), prepare


def test_an_inbox_lives_in_whatever_database_the_app_has(
    orbro: tuple[OrbroConnect, Callable[[Flask], None]],
    make_app: Callable[..., Flask],
    simulator: SimulatorServer,
    serving: Callable[[Flask], str],
    tmp_path: Path,
) -> None:
    extension, prepare = orbro
    done = threading.Event()

    @extension.on(EVENT, path=EVENTS)
    def handler(delivery: Delivery) -> None:
        assert delivery.session.get_bind() is not None
        done.set()

    app = make_app(extension, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/flask.sqlite")
    prepare(app)
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    assert simulator.platform.webhook("acme", EVENT, path=EVENTS).status == 202
    assert done.wait(10)
    get_state(app).inbox.close()
    assert [row.state.value for row in get_state(app).inbox.store.find()] == ["done"]


# What is documented.


@both_modes
def test_its_paths_are_in_swagger(make_app: Callable[..., Flask], testing: bool) -> None:
    orbro = OrbroConnect()
    keeping([])(orbro)
    app = make_app(orbro, TESTING=testing)
    orbro.init_api(Api(app))
    orbro.on("late:event", path="/late")(lambda delivery: None)
    document = app.test_client().get("/swagger.json").json
    validate(document)
    operation = document["paths"][EVENTS]["post"]
    assert operation["summary"] == f"Receives {EVENT}"
    assert operation["security"] == [{"orbroWebhook": []}]
    assert {"202", "400", "401", "403", "413", "415", "503"} <= set(operation["responses"])
    assert document["paths"]["/late"]["post"]["summary"] == "Receives late:event"
