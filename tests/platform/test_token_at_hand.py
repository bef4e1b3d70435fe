"""A token that was found a moment ago is not looked for again, unless something has changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis

from flask_orbro import ConnectAppToken
from flask_orbro.http.server_clock import NOISE
from flask_orbro.installation import Organization
from flask_orbro.platform import AppTokens
from flask_orbro.state import get_state
from flask_orbro.stores.cache import MemoryCache
from flask_orbro.stores.redis_cache import RedisCache

from ..conftest import need_service
from ..world import USERS_PATH, World
from .conftest import MakeWorld, client_of, tokens_of

REDIS = "redis://127.0.0.1:6379/0"


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are looked for, in memory or in Redis."""
    names: list[str] = []
    for cache in (MemoryCache, RedisCache):
        looks: Any = cache.get_many

        def counting(self: Any, wanted: Sequence[str], looks: Any = looks) -> list[bytes | None]:
            names.extend(name for name in wanted if name.startswith("app-token:"))
            found: list[bytes | None] = looks(self, wanted)
            return found

        monkeypatch.setattr(cache, "get_many", counting)
    return names


def app_tokens(world: World) -> AppTokens:
    return get_state(world.app).platform.tokens


def stored(world: World) -> Organization:
    found = world.stored()
    assert found is not None
    return found


def shown(world: World) -> str:
    """The token that a call shows."""
    client_of(world).get(USERS_PATH)
    return tokens_of(world)[-1]


@pytest.mark.parametrize("url", [None, REDIS], ids=["memory", "redis"])
def test_a_call_looks_for_a_token_once_while_its_organization_is_known(
    make_world: MakeWorld, look_ups: list[str], url: str | None
) -> None:
    if url:
        need_service("Redis", redis.Redis.from_url(url).ping)
    world = make_world(ORBRO_ORGANIZATION_TTL=30, **({"ORBRO_REDIS_URL": url} if url else {}))
    shown(world)  # makes it
    shown(world)  # finds it
    look_ups.clear()
    assert len({shown(world) for _ in range(5)}) == 1
    assert look_ups == []
    known = shown(world)
    world.install()
    assert shown(world) != known
    assert look_ups != []


def test_what_is_changed_in_the_store_counts_at_once(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    store = app_tokens(world).store
    shown(world)
    store.set_token(ConnectAppToken(world.organization_id, "another"))
    assert [shown(world), shown(world)] == ["another"] * 2
    store.delete(world.organization_id)
    assert shown(world) != "another"
    assert store.get_token(world.organization_id) is not None


def test_what_is_changed_in_the_store_counts_though_its_organization_is_the_same(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    tokens, organization = app_tokens(world), stored(world)
    made = [tokens.get(organization) for _ in range(3)]
    tokens.store.set_token(ConnectAppToken(world.organization_id, "another"))
    assert [tokens.get(organization) for _ in range(2)] == ["another"] * 2 != made[:2]
    tokens.store.delete(world.organization_id)
    assert tokens.get(organization) != "another"


def test_a_change_for_one_organization_is_none_for_another(
    make_world: MakeWorld, look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_orbro.platform.tokens.MEMORY_ENTRIES", 3)
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    tokens, organization = app_tokens(world), stored(world)
    made = {tokens.get(organization) for _ in range(3)}
    look_ups.clear()
    tokens.store.set_token(ConnectAppToken("another", "t"))
    assert tokens.get(organization) in made
    assert look_ups == []
    for number in range(5):  # more than are remembered: each counts as a change for all
        tokens.store.set_token(ConnectAppToken(f"another-{number}", "t"))
    assert tokens.get(organization) in made
    assert look_ups != []
    assert len(tokens.store._generations) <= 3


def test_a_token_of_another_secret_is_not_at_hand(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    tokens, organization = app_tokens(world), stored(world)
    made = {tokens.get(organization) for _ in range(3)}
    assert tokens.get(replace(organization, shared_secret="o" * 40)) not in made


def test_a_token_is_not_at_hand_for_longer_than_it_is_kept(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    app_tokens(world).store.set_token(ConnectAppToken(world.organization_id, "brief"), expires_in=0.5)
    assert shown(world) == "brief"
    time.sleep(0.6)
    assert shown(world) != "brief"


def test_a_token_of_another_time_is_not_at_hand(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    tokens = app_tokens(world)
    organization = stored(world)
    first = tokens.get(organization)
    assert tokens.get(organization) == first
    tokens._clock.skew += 2 * NOISE + 1
    assert tokens.get(organization) != first


def test_what_is_refused_is_at_hand_no_more(make_world: MakeWorld) -> None:
    """Another process has made the one that is good, so nothing was changed here."""
    world = make_world(ORBRO_ORGANIZATION_TTL=30)
    tokens = app_tokens(world)
    organization = stored(world)
    old = tokens.get(organization)
    assert tokens.get(organization) == old
    generations = dict(tokens.store._generations)
    mark = tokens._mark(organization)
    tokens.store.keep(ConnectAppToken(world.organization_id, "better"), mark, expires_in=60)
    tokens.store._generations = generations
    assert tokens.get(organization) == old
    assert tokens.look_up(organization) == "better"
    assert tokens.renew(organization, refused=old) == "better"
    assert tokens.get(organization) == "better"


def test_what_is_at_hand_goes_with_its_organization(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=0)
    shown(world)
    shown(world)
    assert app_tokens(world)._at_hand == {}
