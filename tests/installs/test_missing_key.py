"""While a process lacks a key: nothing that is due is lost, and nothing else is held up by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from flask_orbro.crypto import KeyRing
from flask_orbro.installation import Claim, State
from flask_orbro.protocol import CONNECT_PATH

from ..lifecycle_world import World, make_world_fixture, world_fixture  # noqa: F401


@contextmanager
def another_key(world: World) -> Iterator[None]:
    """The process knows another key alone, as where the ring was not brought everywhere."""
    records = world.state.organizations._records
    known, records._keys = records._keys, KeyRing([b"x" * 32])
    try:
        yield
    finally:
        records._keys = known


def state_of(world: World) -> State | None:
    return world.stored and world.stored.state


def test_an_uninstall_is_asked_about_once_the_key_is_back(world: World) -> None:
    world.install()
    with another_key(world):
        assert world.platform.uninstall(world.url, "acme").status == 200
        for _ in range(3):
            world.sweep(after=100)
    assert state_of(world) is State.ACTIVE
    world.sweep(after=100)
    assert state_of(world) is State.SUSPENDED
    world.sweep(after=4000)
    assert state_of(world) is State.UNINSTALLED


def test_the_grace_of_one_that_is_suspended_ends_once_the_key_is_back(world: World) -> None:
    world.install()
    world.platform.uninstall(world.url, "acme")
    before = world.stored
    with another_key(world):
        due = world.sweep(after=4000)
    assert due is not None
    assert due > world.clock() + 30
    assert before is not None
    assert world.stored is not None
    changed = {"ask_at": world.stored.ask_at, "version": world.stored.version}
    assert world.stored == replace(before, **changed)  # type: ignore[arg-type]
    world.sweep(after=100)
    assert state_of(world) is State.UNINSTALLED


@pytest.mark.parametrize("older_sub", [False, True])
def test_a_delivery_whose_secret_cannot_be_read_is_to_be_sent_again(world: World, older_sub: bool) -> None:
    world.install()
    with another_key(world):
        assert world.webhook(older_sub=older_sub) == 503
    world.state.organizations.tell()
    assert world.webhook(older_sub=older_sub) == 200


@pytest.mark.parametrize("unreadable", [3, 120])
def test_claims_that_cannot_be_read_hold_up_no_other(
    world: World, unreadable: int, caplog: pytest.LogCaptureFixture
) -> None:
    began = world.clock()
    with another_key(world):
        for number in range(unreadable):
            organization_id = f"o{number}"
            assert world.state.claims.add(
                Claim(organization_id, "z" * 40, f"d{number}", None, "nobody", began, ask_at=began - 50)
            )
    assert world.install(activate="after").status == 200
    due = None
    for _ in range(2):
        caplog.clear()
        due = world.sweep(after=2)
    assert state_of(world) is State.ACTIVE
    assert due is not None
    assert due > world.clock() + 30
    logged = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(logged) <= max(unreadable - 100, 0)


def test_a_claim_is_asked_about_once_its_key_is_back(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, status=500)
    world.install()
    with another_key(world):
        world.sweep(after=10)
    world.platform.faults.clear()
    world.sweep(after=100)
    assert (state_of(world), world.waiting) == (State.ACTIVE, 0)
