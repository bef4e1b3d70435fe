"""An answer is no newer than its question: what was proven since outweighs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_orbro.installation import State
from flask_orbro.installs.lifecycle import Installed

from ..lifecycle_world import World, make_world_fixture, world_fixture  # noqa: F401
from ..test_sweeper import until


@contextmanager
def first_answer_kept(world: World, asks: Callable[[], Any]) -> Iterator[None]:
    """Have the platform answer a question, and whoever has asked it hear that when the block is left."""
    prover = world.state.inquiry._prover
    ask, answered, go_on = prover._ask, threading.Event(), threading.Event()

    def slow(*question: Any) -> Any:
        outcome = ask(*question)
        if not answered.is_set():
            answered.set()
            assert go_on.wait(10)
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover, "_ask", slow)
        thread = threading.Thread(target=asks)
        thread.start()
        assert answered.wait(5)
        yield
        go_on.set()
        thread.join(10)


def test_a_shared_answer_does_not_undo_a_proven_install(world: World) -> None:
    shares = threading.Thread(target=world.sweep)
    flights: Any = world.state.inquiry._prover._flights
    with first_answer_kept(world, world.install):
        world.install()  # another secret, from which moment on the platform refuses the first
        assert world.stored is not None
        newest = world.stored.shared_secret
        shares.start()  # the first claim is due, and its question under way
        assert until(lambda: any(flight._condition._waiters for flight in flights._flights.values()))
    shares.join(10)
    assert (world.stored.shared_secret, world.me(), world.webhook()) == (newest, 200, 200)


def test_a_refusal_says_nothing_of_what_another_process_has_proven_since(world: World) -> None:
    world.install()
    before = world.stored
    assert before is not None
    with first_answer_kept(world, lambda: world.platform.uninstall(world.url, "acme")):
        again = Installed(
            organization_id=world.organization_id,
            shared_secret=str(before.shared_secret),
            subdomain="acme",
        )
        assert world.state.inquiry.install(world.state.lifecycle.claim(again), world.stored)
    after = world.stored
    assert (after.state, after.refused_at, after.bound_subdomain) == (State.ACTIVE, None, "acme")
