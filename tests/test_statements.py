"""What a request costs the database, in statements."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from .conftest import bearer
from .lifecycle_world import MakeWorld, World, make_world_fixture  # noqa: F401
from .test_webhook_token import signed


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Installed, and nothing but its requests uses the database."""
    world = make_world(ORBRO_ORGANIZATION_TTL=60)
    world.install()
    world.me()  # the first request starts the threads
    world.state.sweeper.stop()
    world.state.inbox.sweeper.stop()
    return world


@contextmanager
def statements(world: World) -> Iterator[list[str]]:
    """The kinds of the statements that are sent meanwhile."""
    with world.state.organizations.sessions() as session:
        engine = session.get_bind()
    kinds: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        kinds.append(statement.split()[0])

    event.listen(engine, "before_cursor_execute", see)
    try:
        yield kinds
    finally:
        event.remove(engine, "before_cursor_execute", see)


def forged_webhook(world: World) -> int:
    claims = {"issued_by": "meta-platform-webhook", "sub": f"organizationId:{world.organization_id}"}
    return world.webhook(token=signed(claims | {"exp": time.time() + 60}, "f" * 40))


def test_a_webhook_and_a_user_of_an_organization_that_was_just_read_cost_none(world: World) -> None:
    token = world.platform.user_token("acme")
    headers = bearer(token) | {"sub": "acme"}
    client = world.app.test_client()
    for _ in range(2):  # the first of each reads it
        with statements(world) as seen:
            assert world.webhook() == 200
            assert client.get("/me", headers=headers).status_code == 200
    assert seen == []


def test_a_webhook_of_the_older_form_costs_none_either(world: World) -> None:
    assert world.webhook(older_sub=True) == 200
    with statements(world) as seen:
        assert world.webhook(older_sub=True) == 200
    assert seen == []


def test_the_first_webhook_and_the_first_user_cost_one(world: World) -> None:
    assert world.webhook() == 200  # when it was seen is written, every few minutes
    for call in (world.webhook, world.me):
        world.state.organizations.tell()
        with statements(world) as seen:
            assert call() == 200
        assert seen == ["SELECT"]


def test_that_an_organization_was_seen_is_written_once(world: World) -> None:
    world.state.presence._written.clear()
    with statements(world) as seen:
        for _ in range(3):
            assert world.webhook() == 200
    assert seen.count("UPDATE") == 1


def test_a_forged_webhook_costs_two(world: World) -> None:
    assert world.webhook() == 200
    with statements(world) as seen:
        assert forged_webhook(world) == 401
    assert seen == ["SELECT", "SELECT"]


def test_forged_lifecycle_calls_that_change_nothing_leave_what_was_read(world: World) -> None:
    at = world.clock()
    world.state.lifecycle._clock = world.state.inquiry._clock = lambda: at
    for _ in range(3):  # it is remembered and asked about, and once more
        world.post("/uninstalled", organization_id=world.organization_id)
    assert world.webhook() == 200
    before = world.stored
    for _ in range(5):
        assert world.post("/uninstalled", organization_id=world.organization_id).status_code == 200
        assert world.forge().status_code == 200
    assert world.stored == before
    with statements(world) as seen:
        assert world.webhook() == 200
    assert seen == []
