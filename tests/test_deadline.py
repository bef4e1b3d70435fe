"""Whatever a credential is judged by, all of it takes ``ORBRO_VERDICT_TIMEOUT`` at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis

from flask_orbro import OrbroConnect, any_of
from flask_orbro.installation import Organization
from flask_orbro.state import get_state
from flask_orbro.stores.redis_cache import RedisCache

from .conftest import need_service
from .world import CONNECT_PATH, KINDS, OPEN_API_PATH, USER_PATH, World, is_problem, who

#: Seconds, and what more a loaded machine may take; without a deadline for all it would be far beyond.
TIMEOUT = 3.0
MARGIN = 2.0

everything = {"/any": (any_of("webhook", "user", "connect", "open_api"), who)}


@contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < TIMEOUT + MARGIN


def hang(world: World) -> None:
    for path in (USER_PATH, CONNECT_PATH, OPEN_API_PATH):
        world.platform.faults.set(path, delay=20)


def outdate_binding(world: World) -> None:
    """Have the organization's subdomain asked about at its next use."""

    def older(organization: Organization | None) -> Organization | None:
        return organization and replace(organization, binding_proven_at=time.time() - 90)

    get_state(world.app).organizations.change(world.organization_id, older)


@pytest.mark.parametrize(("kind", "testing"), [*zip(KINDS, (True, False, False, True), strict=True)])
def test_several_kinds_and_a_binding_that_is_due_share_one_deadline(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(
        kind=kind,
        views=everything,
        TESTING=testing,
        ORBRO_VERDICT_TIMEOUT=TIMEOUT,
        ORBRO_PROOF_TIMEOUT=TIMEOUT - 1,
        ORBRO_OUTAGE_MEMORY=0,
        ORBRO_BINDING_TTL=60,
        ORBRO_ORGANIZATION_TTL=0,
    )
    outdate_binding(world)
    hang(world)
    with in_time():
        is_problem(world.get("/any", "token"), 503)


def test_a_turn_that_a_dead_process_has_left_is_within_the_deadline(make_world: Callable[..., World]) -> None:
    client = redis.Redis.from_url("redis://127.0.0.1:6379/0")
    need_service("Redis", client.ping)
    world = make_world(orbro=OrbroConnect(redis=client), ORBRO_VERDICT_TIMEOUT=TIMEOUT, ORBRO_OUTAGE_MEMORY=0)
    hang(world)
    token = world.platform.user_token("acme")
    verdicts = get_state(world.app).authenticator._verdicts
    name = verdicts.name(world.origin() + USER_PATH, world.organization_id, token)
    RedisCache(client).add(name + ":lock", b"somebody who is gone", TIMEOUT * 0.95)
    with in_time():
        is_problem(world.get("/user", token), 503)
    client.close()
