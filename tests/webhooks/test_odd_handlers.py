"""Handlers and errors that are not as one thinks of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask

from flask_orbro import Delivery, OrbroConnect, delivery_dead
from flask_orbro.state import get_state
from flask_orbro.stores.delivery_record import DeliveryState
from flask_orbro.webhooks import Handler, Handlers

from .conftest import EVENT, EVENTS, InboxWorld

MakeWorld = Callable[..., InboxWorld]


def wrapped(seen: list[Any]) -> Callable[[Delivery], Any]:
    async def handler(delivery: Delivery) -> None:
        await asyncio.sleep(0)
        seen.append(delivery.id)

    @functools.wraps(handler)
    def wrapper(delivery: Delivery) -> Any:
        return handler(delivery)

    return wrapper


def begun(seen: list[Any]) -> Callable[[Delivery], Any]:
    async def work(delivery: Delivery) -> None:
        await asyncio.sleep(0)
        seen.append(delivery.id)

    def handler(delivery: Delivery) -> Coroutine[Any, Any, None]:
        return work(delivery)

    return handler


@pytest.mark.parametrize("make", [wrapped, begun])
def test_a_function_that_returns_a_coroutine_is_an_async_handler(
    make_inbox_world: MakeWorld, make: Callable[[list[Any]], Callable[[Delivery], Any]]
) -> None:
    seen: list[Any] = []
    world = make_inbox_world(handlers=lambda orbro: orbro.on(EVENT, path=EVENTS)(make(seen)))
    world.send()
    assert seen == [world.rows[0].id]
    assert world.rows[0].state is DeliveryState.DONE


def test_a_wrapped_async_handler_has_a_time_limit(make_inbox_world: MakeWorld) -> None:
    async def work() -> None:
        await asyncio.sleep(30)

    def register(orbro: OrbroConnect) -> None:
        orbro.on(EVENT, path=EVENTS, time_limit=0.1)(lambda delivery: work())

    world = make_inbox_world(handlers=register)
    world.send()
    assert "TimeLimitExceeded" in str(world.rows[0].last_error)


def test_a_generator_is_refused(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    make_app(orbro)

    def generator(delivery: Delivery) -> Iterator[int]:
        yield 1

    async def async_generator(delivery: Delivery) -> AsyncIterator[int]:
        yield 1

    for function in (generator, async_generator):
        with pytest.raises(TypeError, match=f"{function.__name__}.* is a generator"):
            orbro.on(EVENT, path=EVENTS)(function)


def test_one_that_returns_a_generator_has_failed(make_inbox_world: MakeWorld) -> None:
    def register(orbro: OrbroConnect) -> None:
        orbro.on(EVENT, path=EVENTS)(lambda delivery: (number for number in [1]))

    world = make_inbox_world(handlers=register)
    world.send()
    assert world.rows[0].state is DeliveryState.FAILED
    assert "returned a generator" in str(world.rows[0].last_error)


def test_a_worker_that_knows_no_handler_for_it_gives_a_delivery_up(make_inbox_world: MakeWorld) -> None:
    """As while a new version is rolled out: the web process is new, and the worker old."""
    seen: list[Any] = []
    told: list[Any] = []

    def receiver(sender: Flask, delivery: Delivery, error: str) -> None:
        told.append((delivery.id, error))

    def register(orbro: OrbroConnect) -> None:
        orbro.on(EVENT, path=EVENTS)(lambda delivery: seen.append(delivery.event))

    delivery_dead.connect(receiver)
    world = make_inbox_world(handlers=register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=0)
    world.send()
    row, worker = world.rows[0], world.inbox.worker
    old = Handlers()
    old.add(
        Handler(function=lambda delivery: None, event="other", path=EVENTS).resolved(
            get_state(world.app).config
        )
    )
    worker.handlers, new = old, worker.handlers
    assert worker.handle(row.id) is DeliveryState.DEAD
    error = f"No handler takes {EVENT} at {EVENTS}."
    assert (world.rows[0].last_error, told, seen) == (error, [(row.id, error)], [])
    worker.handlers = new
    assert world.inbox.store.redeliver(row.id, now=0)
    assert worker.handle(row.id) is DeliveryState.DONE
    assert seen == [EVENT]


# Attempts are a handler's own.


class Counting:
    """A handler that notes its attempts, and what it is to do in one: fail, or lose its worker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempts: list[int] = []
        self.act: Callable[[], None] = lambda: None

    def register(self, orbro: OrbroConnect, **options: Any) -> None:
        def handler(delivery: Delivery) -> None:
            self.attempts.append(delivery.attempt)
            self.act()

        handler.__qualname__ = self.name
        orbro.on(EVENT, path=EVENTS, **options)(handler)


def fail() -> None:
    raise ValueError


class Lost(BaseException):
    """Ends a worker as a kill does: nothing is written after."""


def lose() -> None:
    raise Lost


@pytest.fixture
def world_of(make_inbox_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., InboxWorld]:
    """Makes a world whose handlers may lose their worker."""

    def make(register: Callable[[OrbroConnect], Any]) -> InboxWorld:
        world = make_inbox_world(handlers=register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=0)
        monkeypatch.setattr(world.inbox.worker.limiter, "run", lambda function, seconds: function())
        world.send()
        return world

    return make


def work(world: InboxWorld) -> None:
    """Another worker, some time later."""
    world._ahead += 5000
    world.inbox.store.call_due(world.inbox._clock(), until=world.inbox._clock())
    with suppress(Lost):
        world.inbox.worker.handle(world.rows[0].id)


def test_a_handler_that_is_added_later_has_all_its_attempts(world_of: Callable[..., InboxWorld]) -> None:
    old, new = Counting("old"), Counting("new")
    old.act = new.act = fail
    world = world_of(old.register)
    for _ in range(4):
        work(world)
    new.register(world.orbro, max_attempts=3)
    for _ in range(4):
        work(world)
    assert (old.attempts, new.attempts) == ([*range(1, 9)], [1, 2, 3])
    assert world.rows[0].progress[f"{__name__}.new"] == "dead"


@pytest.mark.parametrize("act", [fail, lose])
def test_one_that_was_not_reached_has_all_its_attempts(
    world_of: Callable[..., InboxWorld], act: Callable[[], None]
) -> None:
    first, second = Counting("first"), Counting("second")
    first.act = lose

    def register(orbro: OrbroConnect) -> None:
        first.register(orbro)
        second.register(orbro, max_attempts=2)

    world = world_of(register)
    work(world)
    work(world)
    first.act = lambda: None
    second.act = act
    for _ in range(4):
        work(world)
    assert (first.attempts, second.attempts) == ([1, 2, 3], [1, 2])
    assert world.rows[0].state is DeliveryState.DEAD


@pytest.mark.parametrize("in_front", [True, False])
def test_one_that_costs_every_worker_its_life_is_given_up_wherever_it_stands(
    world_of: Callable[..., InboxWorld], in_front: bool
) -> None:
    failing, fatal = Counting("failing"), Counting("fatal")
    failing.act, fatal.act = fail, lose

    def register(orbro: OrbroConnect) -> None:
        for one in (fatal, failing) if in_front else (failing, fatal):
            one.register(orbro, max_attempts=3)

    world = world_of(register)
    for _ in range(10):
        work(world)
    assert world.rows[0].state is DeliveryState.DEAD
    assert fatal.attempts == [1, 2, 3]
    assert failing.attempts[:1] == [1]
