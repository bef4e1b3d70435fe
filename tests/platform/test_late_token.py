"""A call ends in time, whatever its token waits for."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from flask_orbro import ConnectAppToken, PlatformUnavailable
from flask_orbro.platform import AppTokens
from flask_orbro.state import get_state

from ..conftest import need_service
from ..world import USERS_PATH
from .conftest import MakeCaller, MakeWorld, client_of

REDIS = "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize("budget", [0.5, 0.8])
def test_the_turn_of_a_process_that_died_is_not_waited_for_beyond_the_budget(
    make_caller: MakeCaller, budget: float
) -> None:
    need_service("Redis", redis.Redis.from_url(REDIS).ping)
    call = make_caller(ORBRO_REDIS_URL=REDIS, ORBRO_CALL_BUDGET=budget)
    cache = get_state(call.world.app).platform.tokens._cache
    lock = cache.name(call.world.organization_id) + ":lock"
    cache._cache.add(lock, b"dead", 30)
    began = time.monotonic()
    assert call("GET", USERS_PATH).status_code == 200
    assert time.monotonic() - began < 0.95


def test_a_thread_that_takes_too_long_over_a_token_is_not_waited_for(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(ORBRO_CALL_BUDGET=1)
    mint, begun, go_on = AppTokens._mint, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> str:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10)
        return mint(*arguments)

    monkeypatch.setattr(AppTokens, "_mint", slow)
    tokens = get_state(world.app).platform.tokens
    organization = world.stored()
    assert organization is not None
    first = threading.Thread(target=tokens.get, args=(organization,))
    first.start()
    assert begun.wait(5)
    assert client_of(world).get(USERS_PATH).status_code == 200
    go_on.set()
    first.join(5)


def test_a_token_that_comes_too_late_is_said_to_and_nothing_is_sent(
    make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = make_caller(ORBRO_CALL_BUDGET=0.2)
    mint = AppTokens._mint

    def slow(*arguments: Any) -> str:
        time.sleep(0.4)
        return mint(*arguments)

    monkeypatch.setattr(AppTokens, "_mint", slow)
    call.world.platform.requests.clear()
    with pytest.raises(PlatformUnavailable, match="Its token has not come in time"):
        call("GET", USERS_PATH)
    assert not call.world.platform.requests


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e17])
def test_a_token_is_not_kept_for_ever(make_world: MakeWorld, seconds: float) -> None:
    store = get_state(make_world().app).platform.tokens.store
    with pytest.raises(ValueError, match="kept for some seconds"):
        store.set_token(ConnectAppToken("acme", "opaque"), expires_in=seconds)
    assert store.get_token("acme") is None
