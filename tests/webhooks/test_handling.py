"""What becomes of a delivery whose handlers fail, take too long, or are lost."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import Integer, String, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.exceptions import TooManyRequests

from flask_orbro import ConfigurationError, Delivery, OrbroConnect, PlatformRateLimited, delivery_dead
from flask_orbro.stores import inbox as stored
from flask_orbro.stores.arrivals import LOST
from flask_orbro.stores.delivery_record import DeliveryState
from flask_orbro.webhooks import doorbells, time_limit
from flask_orbro.webhooks.worker import MARGIN

from ..stores.conftest import Database
from .conftest import EVENT, EVENTS, InboxWorld

MakeWorld = Callable[..., InboxWorld]


class Failing:
    """A handler that fails until it is told not to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error: BaseException | None = error or ValueError("shared_secret=hunter2\x00\ud800")
        self.attempts: list[int] = []

    def register(self, orbro: OrbroConnect, name: str = "failing", **options: Any) -> None:
        def handler(delivery: Delivery) -> None:
            self.attempts.append(delivery.attempt)
            if self.error is not None:
                raise self.error

        handler.__qualname__ = name
        orbro.on(EVENT, path=EVENTS, **options)(handler)


def test_a_handler_that_fails_is_run_again_later_and_later(make_inbox_world: MakeWorld) -> None:
    failing = Failing()
    world = make_inbox_world(handlers=failing.register, ORBRO_HANDLER_BACKOFF=10)
    assert world.send().status_code == 202
    waits = []
    for attempt in range(1, 6):
        row = world.rows[0]
        assert (row.state, row.attempts) == (DeliveryState.FAILED, attempt)
        assert row.next_attempt_at is not None
        waits.append(row.next_attempt_at - world.inbox._clock())
        world.sweep(after=waits[-1] - 1)
        assert world.rows[0].attempts == attempt
        world.sweep(after=2)
    for number, wait in enumerate(waits):
        assert 10 * 2**number * 0.5 - 2 <= wait <= 10 * 2**number
    failing.error = None
    world.sweep(after=3600)
    assert failing.attempts == [1, 2, 3, 4, 5, 6, 7]
    assert world.rows[0].state is DeliveryState.DONE


def test_the_wait_is_bounded_and_not_the_same_for_all(make_inbox_world: MakeWorld) -> None:
    world = make_inbox_world(ORBRO_HANDLER_BACKOFF=10, ORBRO_HANDLER_BACKOFF_MAX=50)
    waits = {world.inbox.worker.backoff(attempts) for attempts in (10, 100, 10_000) for _ in range(5)}
    assert len(waits) > 5
    assert all(25 <= wait <= 50 for wait in waits)


def test_what_fails_too_often_is_dead_and_told_of(make_inbox_world: MakeWorld) -> None:
    failing, told = Failing(), []

    def receiver(sender: Flask, delivery: Delivery, error: str) -> None:
        told.append((sender.name, current_app.name, delivery.id, delivery.organization_id, error))

    delivery_dead.connect(receiver)
    world = make_inbox_world(handlers=lambda orbro: failing.register(orbro, max_attempts=3))
    world.send()
    for _ in range(5):
        world.sweep(after=4000)
    assert failing.attempts == [1, 2, 3]
    row = world.rows[0]
    assert (row.state, row.next_attempt_at) == (DeliveryState.DEAD, None)
    assert row.last_error is not None
    assert row.last_error.startswith("tests.webhooks.test_handling.failing: ValueError: ")
    assert "hunter2" not in row.last_error
    assert told == [(world.app.name, world.app.name, row.id, world.organization_id, row.last_error)]


def test_a_receiver_that_raises_changes_nothing(make_inbox_world: MakeWorld) -> None:
    def receiver(sender: Flask, **_: Any) -> None:
        raise RuntimeError("not my day")

    delivery_dead.connect(receiver)
    world = make_inbox_world(handlers=lambda orbro: Failing().register(orbro, max_attempts=1))
    assert world.send().status_code == 202
    assert world.rows[0].state is DeliveryState.DEAD


@pytest.mark.parametrize(
    ("error", "retry_on", "state"),
    [
        (ValueError("x"), ValueError, DeliveryState.FAILED),
        (KeyError("x"), (ValueError, LookupError), DeliveryState.FAILED),
        (TypeError("x"), (ValueError, LookupError), DeliveryState.DEAD),
        (ValueError("x"), (), DeliveryState.DEAD),
        (SystemExit(3), Exception, DeliveryState.FAILED),
        (KeyboardInterrupt(), Exception, DeliveryState.FAILED),
    ],
)
def test_only_errors_worth_it_are_tried_again(
    make_inbox_world: MakeWorld, error: BaseException, retry_on: Any, state: DeliveryState
) -> None:
    world = make_inbox_world(handlers=lambda orbro: Failing(error).register(orbro, retry_on=retry_on))
    assert world.send().status_code == 202
    assert world.rows[0].state is state


class Wanting(Exception):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("make_error", "wait"),
    [
        (lambda: PlatformRateLimited("slow down", retry_after=500), 500),
        (lambda: Wanting("500"), 500),
        (lambda: Wanting(timedelta(seconds=500)), 500),
        (lambda: Wanting(datetime.now(UTC) + timedelta(seconds=500)), 500),
        (
            lambda: TooManyRequests(retry_after=datetime.now(UTC).replace(tzinfo=None) + timedelta(0, 500)),
            500,
        ),
        (lambda: Wanting(datetime.max), 1000),
        (lambda: Wanting(1e300), 1000),
        (lambda: Wanting(float("inf")), 1),
        (lambda: Wanting(float("nan")), 1),
        (lambda: Wanting(-5), 1),
        (lambda: Wanting("soon"), 1),
    ],
)
def test_an_error_may_ask_for_a_longer_wait(
    make_inbox_world: MakeWorld, make_error: Callable[[], Exception], wait: float
) -> None:
    options = {"ORBRO_HANDLER_BACKOFF": 1, "ORBRO_HANDLER_BACKOFF_MAX": 1000}
    world = make_inbox_world(handlers=Failing(make_error()).register, **options)
    assert world.send().status_code == 202
    due = world.rows[0].next_attempt_at
    assert due is not None
    shortest = 0 if wait == 1 else wait - 60
    assert shortest < due - time.time() <= wait + 1


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def test_an_error_that_cannot_be_shown_is_one_like_others(make_inbox_world: MakeWorld) -> None:
    world = make_inbox_world(handlers=Failing(Unspeakable()).register)
    assert world.send().status_code == 202
    assert world.rows[0].state is DeliveryState.FAILED
    assert "Unspeakable: (it cannot be shown)" in str(world.rows[0].last_error)


def test_handlers_that_are_done_are_not_run_again(make_inbox_world: MakeWorld) -> None:
    first, second, third = Failing(), Failing(), Failing()
    first.error = third.error = None

    def register(orbro: OrbroConnect) -> None:
        first.register(orbro, "first")
        second.register(orbro, "second", max_attempts=3)
        third.register(orbro, "third")

    world = make_inbox_world(handlers=register)
    world.send()
    world.sweep(after=4000)
    assert (first.attempts, second.attempts, third.attempts) == ([1], [1, 2], [1])
    assert world.rows[0].state is DeliveryState.FAILED
    world.sweep(after=4000)
    assert world.rows[0].state is DeliveryState.DEAD
    second.error = None
    assert world.inbox.store.redeliver(world.rows[0].id, now=world.inbox._clock())
    world.sweep()
    assert (first.attempts, second.attempts, third.attempts) == ([1], [1, 2, 3, 1], [1])
    assert world.rows[0].state is DeliveryState.DONE


def test_one_that_is_given_up_keeps_no_other_from_being_tried_again(make_inbox_world: MakeWorld) -> None:
    hopeless, hopeful = Failing(), Failing()

    def register(orbro: OrbroConnect) -> None:
        hopeless.register(orbro, "hopeless", max_attempts=1)
        hopeful.register(orbro, "hopeful")

    world = make_inbox_world(handlers=register)
    world.send()
    assert world.rows[0].state is DeliveryState.FAILED
    hopeful.error = None
    world.sweep(after=4000)
    assert (hopeless.attempts, hopeful.attempts) == ([1], [1, 2])
    assert world.rows[0].state is DeliveryState.DEAD


def test_of_several_that_are_given_up_each_says_why(make_inbox_world: MakeWorld) -> None:
    first, second = Failing(ValueError("broken")), Failing(KeyError("missing"))

    def register(orbro: OrbroConnect) -> None:
        first.register(orbro, "first", max_attempts=1)
        second.register(orbro, "second", max_attempts=1)

    world = make_inbox_world(handlers=register)
    world.send()
    module = Failing.__module__
    said = f"{module}.first: ValueError: broken\n{module}.second: KeyError: 'missing'"
    assert (world.rows[0].state, world.rows[0].last_error) == (DeliveryState.DEAD, said)


# Time limits.


def test_a_handler_that_takes_too_long_is_left_and_tried_again(make_inbox_world: MakeWorld) -> None:
    go_on, runs = threading.Event(), []

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, time_limit=0.1)
        def slow(delivery: Delivery) -> None:
            runs.append(delivery.attempt)
            if delivery.attempt == 1:
                go_on.wait(10)

    world = make_inbox_world(handlers=register)
    began = time.monotonic()
    assert world.send().status_code == 202
    assert time.monotonic() - began < 5
    row = world.rows[0]
    assert row.state is DeliveryState.FAILED
    assert "TimeLimitExceeded: It took longer than 0.1 s" in str(row.last_error)
    world.sweep(after=4000)
    assert world.rows[0].state is DeliveryState.DONE
    go_on.set()
    time.sleep(0.2)
    assert world.rows[0].state is DeliveryState.DONE
    assert runs == [1, 2]


def test_an_async_handler_that_takes_too_long_is_cancelled(make_inbox_world: MakeWorld) -> None:
    cancelled = threading.Event()

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, time_limit=0.1)
        async def slow(delivery: Delivery) -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    world = make_inbox_world(handlers=register)
    world.send()
    assert cancelled.wait(5)
    assert world.rows[0].state is DeliveryState.FAILED


def test_a_time_out_of_the_handlers_own_is_an_error_like_others(make_inbox_world: MakeWorld) -> None:
    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, retry_on=ValueError)
        async def fails(delivery: Delivery) -> None:
            raise TimeoutError("the printer")

    world = make_inbox_world(handlers=register)
    world.send()
    assert world.rows[0].state is DeliveryState.DEAD
    assert "TimeoutError: the printer" in str(world.rows[0].last_error)


def test_many_that_hang_do_not_stop_the_others(make_inbox_world: MakeWorld) -> None:
    go_on = threading.Event()

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, time_limit=0.05)
        def hang(delivery: Delivery) -> None:
            if "hang" in delivery.payload:
                go_on.wait(20)

    world = make_inbox_world(handlers=register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=2)
    for number in range(10):
        world.send(json={"hang": number})
    world.send(json={"ok": 1})
    world.wait_until(lambda: world.rows[-1].state is DeliveryState.DONE)
    world.wait_until(lambda: {row.state for row in world.rows[:-1]} == {DeliveryState.FAILED})
    go_on.set()


def test_where_too_many_hang_nothing_is_begun_and_it_is_said(
    make_inbox_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time_limit, "MOST", 2)
    monkeypatch.setattr(doorbells, "OUTAGE_MEMORY", 0.05)
    go_on = threading.Event()

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, time_limit=0.05, max_attempts=1)
        def hang(delivery: Delivery) -> None:
            if "hang" in delivery.payload:
                go_on.wait(20)

    world = make_inbox_world(handlers=register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=2)
    for number in range(2):
        world.send(json={"hang": number})
    world.wait_until(lambda: {row.state for row in world.rows} == {DeliveryState.DEAD})
    world.send(json={"ok": 1})
    world.wait_until(lambda: world.inbox.doorbell.room == 0)
    assert (world.rows[-1].state, world.rows[-1].attempts) == (DeliveryState.RECEIVED, 0)
    assert "2 handlers took too long, and go on: this process handles nothing more" in caplog.text
    go_on.set()
    world.wait_until(lambda: world.rows[-1].state is DeliveryState.DONE)
    assert world.rows[-1].attempts == 1


# Lost workers.


def test_a_delivery_whose_worker_is_lost_is_handled_by_another(make_inbox_world: MakeWorld) -> None:
    handler = Failing()
    handler.error = None
    world = make_inbox_world(handlers=handler.register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=0)
    world.send()
    row = world.rows[0]
    # As a worker does that ends right after.
    assert world.inbox.store.claim(row.id, lease="lost", until=time.time() + 60 + MARGIN)
    worker = world.inbox.worker
    assert worker.handle(row.id) is None
    assert world.inbox.store.call_due(time.time() + 60, until=time.time()) == []
    assert world.inbox.store.call_due(time.time() + 61 + MARGIN, until=time.time()) == [row.id]
    assert world.rows[0].last_error == LOST
    assert worker.handle(row.id) is DeliveryState.DONE
    assert handler.attempts == [2]


def test_what_costs_every_worker_its_life_is_given_up(make_inbox_world: MakeWorld) -> None:
    handler = Failing()
    world = make_inbox_world(
        handlers=lambda orbro: handler.register(orbro, max_attempts=2),
        ORBRO_WORKER_THREADS=0,
        ORBRO_WORKER="thread",
    )
    world.send()
    row, later = world.rows[0], time.time()
    for attempt in (1, 2):
        assert world.inbox.store.claim(row.id, lease=f"lost{attempt}", until=later)
        later += 100
        assert world.inbox.store.call_due(later, until=later) == [row.id]
    assert world.inbox.worker.handle(row.id) is DeliveryState.DEAD
    assert handler.attempts == []
    assert world.rows[0].last_error == f"tests.webhooks.test_handling.failing: {LOST}"


def test_the_lease_is_as_long_as_the_handlers_may_take(make_inbox_world: MakeWorld) -> None:
    leases: list[float] = []

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS, time_limit=100)
        def one(delivery: Delivery) -> None:
            until = world.rows[0].next_attempt_at
            assert until is not None
            leases.append(until - time.time())

        @orbro.on(EVENT, path=EVENTS, time_limit=200)
        def two(delivery: Delivery) -> None:
            pass

    world = make_inbox_world(handlers=register)
    world.send()
    assert 295 < leases[0] <= 300 + MARGIN


# What a handler changes in its delivery's transaction.


class Base(DeclarativeBase):
    pass


class Effect(Base):
    __tablename__ = "effect"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    note: Mapped[str] = mapped_column(String(100))


@pytest.fixture
def effects(database: Database) -> Iterator[Callable[[], int]]:
    """Counts effects, on one engine after the other."""
    Base.metadata.create_all(database.engine)

    def count() -> int:
        with database.sessions() as session:
            return session.scalar(select(func.count()).select_from(Effect)) or 0

    yield count
    Base.metadata.drop_all(database.engine)


def leave_effect(delivery: Delivery) -> None:
    delivery.session.add(Effect(note=str(delivery.attempt)))


def test_an_effect_and_its_delivery_commit_together(
    make_inbox_world: MakeWorld, database: Database, effects: Callable[[], int]
) -> None:
    def fail_late(delivery: Delivery) -> None:
        leave_effect(delivery)
        delivery.session.flush()
        if delivery.attempt < 3:
            raise ValueError

    orbro = OrbroConnect(db_session_maker=database.sessions)
    orbro.on(EVENT, path=EVENTS)(fail_late)
    world = make_inbox_world(orbro=orbro)
    world.send()
    for attempt in (1, 2):
        assert (effects(), world.rows[0].attempts) == (0, attempt)
        world.sweep(after=4000)
    assert effects() == 1
    assert world.rows[0].state is DeliveryState.DONE


def test_an_async_handler_shares_the_transaction_too(
    make_inbox_world: MakeWorld, database: Database, effects: Callable[[], int]
) -> None:
    async def handler(delivery: Delivery) -> None:
        await asyncio.sleep(0)
        leave_effect(delivery)
        delivery.session.flush()
        if delivery.attempt < 2:
            raise ValueError

    orbro = OrbroConnect(db_session_maker=database.sessions)
    orbro.on(EVENT, path=EVENTS)(handler)
    world = make_inbox_world(orbro=orbro)
    world.send()
    assert effects() == 0
    world.sweep(after=4000)
    assert effects() == 1


def test_who_lost_the_lease_has_no_effect(
    make_inbox_world: MakeWorld, database: Database, effects: Callable[[], int]
) -> None:
    def handler(delivery: Delivery) -> None:
        leave_effect(delivery)
        if delivery.attempt == 1:
            # Meanwhile the lease has ended, and another worker has come.
            assert world.inbox.store.call_due(time.time() + 4000, until=time.time()) == [delivery.id]
            assert world.inbox.worker.handle(delivery.id or 0) is DeliveryState.DONE

    orbro = OrbroConnect(db_session_maker=database.sessions)
    orbro.on(EVENT, path=EVENTS)(handler)
    world = make_inbox_world(orbro=orbro)
    world.send()
    assert effects() == 1
    assert (world.rows[0].state, world.rows[0].attempts) == (DeliveryState.DONE, 2)


def test_one_that_took_too_long_has_no_effect_afterwards(
    make_inbox_world: MakeWorld, database: Database, effects: Callable[[], int]
) -> None:
    go_on, through = threading.Event(), threading.Event()

    def handler(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            go_on.wait(10)
            leave_effect(delivery)
            threading.Timer(0.3, through.set).start()

    orbro = OrbroConnect(db_session_maker=database.sessions)
    orbro.on(EVENT, path=EVENTS, time_limit=0.1)(handler)
    world = make_inbox_world(orbro=orbro)
    world.send()
    assert world.rows[0].state is DeliveryState.FAILED
    go_on.set()
    assert through.wait(10)
    assert effects() == 0
    world.sweep(after=4000)
    assert (effects(), world.rows[0].state) == (0, DeliveryState.DONE)


def test_of_several_handlers_each_has_its_effect_once(
    make_inbox_world: MakeWorld, database: Database, effects: Callable[[], int]
) -> None:
    def second(delivery: Delivery) -> None:
        leave_effect(delivery)
        if delivery.attempt < 3:
            raise ValueError

    orbro = OrbroConnect(db_session_maker=database.sessions)
    for function in (leave_effect, second):
        orbro.on(EVENT, path=EVENTS)(function)
    world = make_inbox_world(orbro=orbro)
    world.send()
    for _ in range(4):
        world.sweep(after=4000)
    assert effects() == 2


def test_what_the_database_does_not_take_is_tried_again(
    make_inbox_world: MakeWorld, database: Database, effects: Callable[[], int]
) -> None:
    def handler(delivery: Delivery) -> None:
        delivery.session.add(Effect(note="x" * 10 if delivery.attempt > 1 else None))  # type: ignore[arg-type]

    orbro = OrbroConnect(db_session_maker=database.sessions)
    orbro.on(EVENT, path=EVENTS, retry_on=())(handler)
    world = make_inbox_world(orbro=orbro)
    world.send()
    assert world.rows[0].state is DeliveryState.FAILED
    world.sweep(after=4000)
    assert (effects(), world.rows[0].state) == (1, DeliveryState.DONE)


def test_a_delivery_has_no_session_outside_of_a_handler(make_inbox_world: MakeWorld) -> None:
    seen: list[Any] = []
    world = make_inbox_world(
        handlers=lambda orbro: orbro.on(EVENT, path=EVENTS)(lambda delivery: seen.append(delivery))
    )
    world.send()
    assert seen
    with pytest.raises(RuntimeError, match="handler"):
        _ = Delivery("o", None, {}).session


def test_old_deliveries_go_with_the_sweep(make_inbox_world: MakeWorld) -> None:
    handler = Failing()
    handler.error = None
    options = {"ORBRO_INBOX_MAX_AGE": 1000, "ORBRO_WEBHOOK_DUPLICATE_WINDOW": 1000}
    world = make_inbox_world(handlers=handler.register, ORBRO_INBOX_MAX_ROWS=5, **options)
    for _ in range(8):
        world.send()
    world.sweep(after=100)
    assert len(world.rows) == 5
    world.sweep(after=1000)
    assert world.rows == []


def test_one_sweep_drops_many_batches_past_what_waits(
    make_inbox_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BATCH", 2)
    handler = Failing()
    handler.error = None

    def register(orbro: OrbroConnect) -> None:
        handler.register(orbro)
        Failing().register(orbro, "waiting", property="fails", value="yes")

    options = {"ORBRO_INBOX_MAX_AGE": 1000, "ORBRO_WEBHOOK_DUPLICATE_WINDOW": 1000}
    world = make_inbox_world(handlers=register, ORBRO_HANDLER_BACKOFF=3600, **options)
    world.send(json={"fails": "yes"})
    for _ in range(9):
        world.send(json={"fails": "no"})
    world.sweep(after=1001)
    assert [row.state for row in world.rows] == [DeliveryState.FAILED]


# What cannot be a handler.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": ""}, "names no event"),
        ({"event": "a\nb"}, "names no event"),
        ({"path": "no-slash"}, "must be a path"),
        ({"path": "/<x>"}, "must be a path"),
        ({"property": "a"}, "both a 'property' and a 'value'"),
        ({"value": "a"}, "both a 'property' and a 'value'"),
        ({"property": "a", "value": ["b"]}, "both a 'property' and a 'value'"),
        ({"max_attempts": -1}, "'max_attempts' must be between 1 and 1000"),
        ({"max_attempts": 1.5}, "'max_attempts' must be a whole number"),
        ({"time_limit": -1}, "'time_limit' must be between 0.05 and 86400"),
        ({"time_limit": float("nan")}, "'time_limit' must be between"),
        ({"time_limit": float("inf")}, "'time_limit' must be between"),
        ({"time_limit": "5"}, "'time_limit' must be a number"),
        ({"retry_on": "junk"}, "'retry_on' of one class"),
        ({"retry_on": [ValueError]}, "'retry_on' of one class"),
        ({"retry_on": (ValueError, SystemExit)}, "'retry_on' of one class"),
        ({"path": "/installed"}, "'orbro.installed' is served"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(
    make_app: Callable[..., Flask], options: dict[str, Any], message: str
) -> None:
    orbro = OrbroConnect()
    make_app(orbro)
    with pytest.raises(ConfigurationError, match=message):
        orbro.on(**({"event": EVENT, "path": EVENTS} | options))(lambda delivery: None)


def test_two_functions_of_one_name_are_refused(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    make_app(orbro)
    orbro.on(EVENT, path=EVENTS)(lambda delivery: None)
    with pytest.raises(ConfigurationError, match="Two handlers are named"):
        orbro.on(EVENT, path="/elsewhere")(lambda delivery: 1)
    with pytest.raises(TypeError):
        orbro.on(EVENT, path=EVENTS)(Failing)  # type: ignore[arg-type]


def test_failures_are_logged_without_what_they_hold(
    make_inbox_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_inbox_world(handlers=Failing().register)
    with caplog.at_level(logging.DEBUG):
        world.send()
    ours = [record for record in caplog.records if record.name.startswith("flask_orbro.webhooks")]
    assert "attempt 1 of 10" in ours[0].getMessage()
    assert "hunter2" not in caplog.text
