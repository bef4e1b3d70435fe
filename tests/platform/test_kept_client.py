"""A client that is kept for long acts for its organization as long as that may be acted for, no longer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from flask_orbro import NotAllowed, cli
from flask_orbro.state import get_state

from ..world import CONNECT_PATH, USERS_PATH, World
from .conftest import MakeWorld, tokens_of

MakeKept = Callable[..., tuple[World, Callable[[], int]]]


@pytest.fixture(params=["sync", "async"])
def make_kept(request: pytest.FixtureRequest, make_world: MakeWorld) -> Iterator[MakeKept]:
    """Makes a world, and calls there with a client that was made before all that happens to it."""
    with asyncio.Runner() as runner:

        def make(**config: Any) -> tuple[World, Callable[[], int]]:
            world = make_world(ORBRO_METRICS=True, **config)
            orbro, who = world.orbro, world.organization_id
            client = orbro.client_for(who, app=world.app)
            async_client = orbro.async_client_for(who, app=world.app)

            async def awaited() -> int:
                return (await async_client.get(USERS_PATH)).status_code

            def call() -> int:
                is_sync = request.param == "sync"
                return client.get(USERS_PATH).status_code if is_sync else runner.run(awaited())

            assert call() == 200
            return world, call

        yield make


def operator(world: World, *words: str) -> None:
    done = world.app.test_cli_runner().invoke(cli.orbro, ["organizations", *words])
    assert done.exit_code == 0, done.output


@contextmanager
def refused(world: World, reason: str) -> Iterator[None]:
    before = len(tokens_of(world))
    with pytest.raises(NotAllowed) as raised:
        yield
    assert raised.value.reason == reason
    assert len(tokens_of(world)) == before, "and nothing was sent"


def test_it_uses_the_secret_that_was_proven_last(make_kept: MakeKept) -> None:
    world, call = make_kept()
    world.install()
    with world.app.app_context():
        made = world.orbro.metrics_registry.get_sample_value
    requests, tokens = len(tokens_of(world)), made("orbro_tokens_total")
    assert [call() for _ in range(10)] == [200] * 10
    assert len(tokens_of(world)) - requests == 10
    assert made("orbro_tokens_total") - tokens == 1


def test_it_learns_of_a_secret_that_another_process_has_proven(make_kept: MakeKept) -> None:
    world, call = make_kept(ORBRO_ORGANIZATION_TTL=60)
    cache = get_state(world.app).platform._organization_cache
    kept = dict(cache._found)
    world.install()
    cache._found.update(kept)  # as in a process that did not see it
    requests = len(tokens_of(world))
    assert [call() for _ in range(5)] == [200] * 5
    assert len(tokens_of(world)) - requests == 6, "one is refused, and no more"


def test_it_does_not_act_for_an_organization_that_was_removed(make_kept: MakeKept) -> None:
    world, call = make_kept()
    operator(world, "remove", world.organization_id)
    with refused(world, "unknown_organization"):
        call()
    with world.app.app_context():
        assert world.orbro.token_store.get_token(world.organization_id) is None


def test_it_does_not_act_for_one_whose_subdomain_is_not_proven_again(make_kept: MakeKept) -> None:
    world, call = make_kept(ORBRO_BINDING_TTL=1)
    world.platform.faults.set(CONNECT_PATH, status=401, body={"error_code": "OTHER"})
    time.sleep(1.1)
    with refused(world, "subdomain_unproven"):
        call()


def test_it_shows_no_token_where_the_organization_was_before(make_kept: MakeKept) -> None:
    world, call = make_kept()
    claim = {"organization_id": world.organization_id, "subdomain": "moved", "shared_secret": "m" * 40}
    world.client.post("/installed", json=claim)
    operator(world, "approve", world.organization_id)
    with refused(world, "subdomain_changed"):
        call()


def test_the_database_is_not_asked_in_the_event_loop(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=0)
    client = world.orbro.async_client_for(world.organization_id, app=world.app)
    asked_by: list[threading.Thread] = []

    def look(*_: Any) -> None:
        asked_by.append(threading.current_thread())

    async def call() -> int:
        return (await client.get(USERS_PATH)).status_code

    event.listen(Engine, "before_cursor_execute", look)
    try:
        assert asyncio.run(call()) == 200
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert asked_by
    assert threading.current_thread() not in asked_by
