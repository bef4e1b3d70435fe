"""Tokens: made once, kept sealed, fresh at every call, and to be had by hand."""

from __future__ import annotations

import asyncio
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import redis
from flask import Flask

from flask_orbro import (
    ConfigurationError,
    ConnectAppToken,
    OrbroConnect,
    PlatformInvalidResponse,
    PlatformRefused,
    TokenStore,
)
from flask_orbro.simulator import Platform, SimulatorServer

from ..conftest import need_service
from ..world import OPEN_API_PATH, USERS_PATH, World
from .conftest import Caller, MakeCaller, MakeWorld, client_of, tokens_of

REDIS = "redis://127.0.0.1:6379/0"
SECRET = "s" * 40


def test_a_token_is_minted_once_and_kept(make_world: MakeWorld, monkeypatch: Any) -> None:
    world = make_world()
    world.install("other")
    clock = time.time()
    for seconds in range(3):  # a token that is minted anew tells another time
        monkeypatch.setattr(time, "time", lambda later=seconds: clock + later)
        assert client_of(world).get(USERS_PATH).status_code == 200
    assert len(set(tokens_of(world))) == 1
    assert client_of(world, "other").get(USERS_PATH).status_code == 200
    assert len(set(tokens_of(world))) == 2


def test_a_rotated_secret_ends_its_tokens(make_world: MakeWorld) -> None:
    world = make_world()
    client = client_of(world)
    assert client.get(USERS_PATH).status_code == 200
    world.install()
    assert client_of(world).get(USERS_PATH).status_code == 200
    assert client.get(USERS_PATH).status_code == 200, "a client that was made before it keeps working"


def test_an_expired_token_is_renewed_once_and_not_twice(make_caller: MakeCaller) -> None:
    call = make_caller()
    expired = {"error_code": "TOKEN_EXPIRED"}
    for status in (401, 403, 400, 500):
        before = len(tokens_of(call.world))
        call.world.platform.faults.set(USERS_PATH, status=status, body=expired, times=1)
        assert call().status_code == 200
        assert len(tokens_of(call.world)) - before == 2
    before = len(tokens_of(call.world))
    call.world.platform.faults.set(USERS_PATH, status=401, body=expired)
    assert (call().status_code, len(tokens_of(call.world)) - before) == (401, 2)


def test_a_stream_is_opened_with_the_newer_token_too(make_caller: MakeCaller) -> None:
    call = make_caller()
    call.world.platform.faults.set(USERS_PATH, status=401, body={"error_code": "TOKEN_EXPIRED"}, times=1)
    assert b"admin@acme.example" in b"".join(call.download())


@pytest.mark.parametrize("ahead", [300, -300])
@pytest.mark.parametrize("way", ["sync", "asyncio", "async view"])
def test_a_platform_whose_clock_differs_is_understood(
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    settings: dict[str, Any],
    ahead: int,
    way: str,
) -> None:
    with SimulatorServer(platform=Platform(clock=lambda: time.time() + ahead)) as simulator:
        hosts = {"ORBRO_PLATFORM_HOST": simulator.platform_host}
        world = World(make_app, serving, simulator, install=False, **hosts)
        call = Caller(world, way)
        world.install()
        for _ in range(5):
            assert call().status_code == 200
        shown = tokens_of(world)
        assert len(shown) <= 6, "once the difference is known, nothing is refused"
        assert len(set(shown[-4:])) == 1


def test_processes_that_measure_the_clock_differently_share_a_token(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> None:
    need_service("Redis", lambda: redis.Redis.from_url(REDIS).ping())
    secret = uuid.uuid4().hex * 2
    with redis.Redis.from_url(REDIS) as client:
        worlds = [
            World(make_app, serving, simulator, orbro=OrbroConnect(redis=client, client_secret=secret),
                  install=number == 0, ORBRO_METRICS=True)
            for number in range(2)
        ]  # fmt: skip
        row = worlds[0].stored()
        assert row is not None
        tokens = [world.app.extensions["orbro"].platform.tokens for world in worlds]
        for skew in (0.4, -0.4, 1.6, 0.6):
            tokens[0]._clock.skew, tokens[1]._clock.skew = 300 + skew, 300
            assert tokens[0].get(row) == tokens[1].get(row) == tokens[0].get(row)
        made = []
        for world in worlds:
            with world.app.app_context():
                made.append(world.orbro.metrics_registry.get_sample_value("orbro_tokens_total"))
        assert made == [1, 0]
        tokens[0].store.delete(row.organization_id)


def test_a_token_is_renewed_once_by_many_threads(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_METRICS=True)
    client = client_of(world)
    assert client.get(USERS_PATH).status_code == 200
    with world.app.app_context():
        world.orbro.token_store.delete(world.organization_id)
        made = world.orbro.metrics_registry.get_sample_value
    start = threading.Barrier(32)

    def call() -> None:
        start.wait()
        assert client.get(USERS_PATH).status_code == 200

    threads = [threading.Thread(target=call) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made("orbro_tokens_total") == 2


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "Redis"])
def test_a_token_is_renewed_once_by_many_tasks(make_world: MakeWorld, shared: bool) -> None:
    if shared:
        need_service("Redis", lambda: redis.Redis.from_url(REDIS).ping())
    config = {"ORBRO_CLIENT_SECRET": uuid.uuid4().hex * 2, "ORBRO_REDIS_URL": REDIS if shared else None}
    world = make_world(ORBRO_METRICS=True, **config)

    async def call_at_once() -> list[int]:
        client = world.orbro.async_client_for(world.organization_id, app=world.app)
        calls: list[Any] = [client.get(USERS_PATH) for _ in range(64)]
        return [response.status_code for response in await asyncio.gather(*calls)]

    assert asyncio.run(call_at_once()) == [200] * 64
    with world.app.app_context():
        assert world.orbro.metrics_registry.get_sample_value("orbro_tokens_total") == 1
        world.orbro.token_store.delete(world.organization_id)


@pytest.fixture
def store(make_app: Callable[..., Flask]) -> Iterator[TokenStore]:
    """With a life of 100 s and a leeway of 10 s."""
    orbro = OrbroConnect()
    app = make_app(orbro, ORBRO_TOKEN_LIFETIME=100, ORBRO_TOKEN_LEEWAY=10)
    with app.app_context():
        yield orbro.token_store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, store: TokenStore) -> Callable[[float], None]:
    """Sets how many seconds have gone by since the test began."""
    began, passed = time.time(), [0.0]
    for clock in (store._clock, store._cache):
        monkeypatch.setattr(clock, "_clock", lambda: began + passed[0])
    return lambda seconds: passed.__setitem__(0, seconds)


@pytest.mark.parametrize(
    ("names", "expires_in", "kept_for"),
    [
        (None, None, 90),
        (None, 20, 20),
        (None, 0, 0),
        (None, -5, 0),
        (50, None, 38),
        (50, 20, 20),
        (50, 70, 38),
        (-50, 70, 0),
    ],
)
def test_the_token_store_keeps_a_token_until_it_expires(
    store: TokenStore,
    clock: Callable[[float], None],
    names: float | None,
    expires_in: float | None,
    kept_for: float,
) -> None:
    claims = {} if names is None else {"exp": int(time.time() + names)}
    token = ConnectAppToken("o-1", jwt.encode(claims, SECRET, algorithm="HS256"))
    store.set_token(ConnectAppToken("o-1", "an earlier one"))
    store.set_token(token, expires_in=expires_in)
    for seconds in (0, max(0, kept_for - 1), kept_for + 3):
        clock(seconds)
        assert store.get_token("o-1") == (token if seconds < kept_for else None)


def test_the_token_store_takes_what_the_old_sdk_took(store: TokenStore) -> None:
    store.set_token({"organization_id": "o-1", "access_token": "a-token"})
    assert store.get_token("o-1") == ConnectAppToken("o-1", "a-token")
    assert store.get_token("o-2") is None
    store.delete("o-1")
    store.delete("o-1")
    assert store.get_token("o-1") is None
    for nonsense in ({}, {"organization_id": "o-1"}, {"organization_id": "\x00", "access_token": "t"}):
        with pytest.raises(ValueError, match="needs both"):
            store.set_token(nonsense)
    for name in ("\x00", "\ud800", "", "o" * 3000):
        assert store.get_token(name) is None
        store.delete(name)


def test_a_time_by_position_is_the_old_sdks_milliseconds(
    store: TokenStore, clock: Callable[[float], None]
) -> None:
    store.set_token(ConnectAppToken("o-1", "a-token"), 20_000)
    clock(19)
    assert store.get_token("o-1") is not None
    clock(21)
    assert store.get_token("o-1") is None


def test_a_token_is_not_shown_by_accident() -> None:
    assert "a-token" not in repr(ConnectAppToken("o-1", "a-token"))


def test_a_token_that_is_set_by_hand_is_shown_until_it_is_refused(make_caller: MakeCaller) -> None:
    call = make_caller()
    installation = call.world.platform.installation("acme")
    with call.world.app.app_context():
        by_hand = call.world.orbro.token_util.issue_token(
            installation.shared_secret, installation.installed_user_id, 600
        )
        call.world.orbro.token_store.set_token(ConnectAppToken(call.world.organization_id, by_hand))
    assert call().status_code == 200
    call.world.platform.faults.set(USERS_PATH, status=401, body={"error_code": "TOKEN_EXPIRED"}, times=1)
    assert call().status_code == 200
    first, second, third = tokens_of(call.world)
    assert first == second == by_hand
    assert third != by_hand


def test_without_redis_tokens_are_made_here_with_one_warning(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(ORBRO_REDIS_URL="redis://127.0.0.1:1/0", install=False)
    call = Caller(world, "asyncio")
    world.install()
    for _ in range(3):
        assert call().status_code == 200
        assert client_of(world).get(USERS_PATH).status_code == 200
    warnings = [record.message for record in caplog.records if "Redis" in record.message]
    assert warnings == ["Redis does not answer (ConnectionError); memory stands in."]


def test_tokens_are_made_by_hand_and_by_the_platform(make_world: MakeWorld) -> None:
    world = make_world()
    installation = world.platform.installation("acme")
    with world.app.app_context():
        util = world.orbro.token_util
        token = util.issue_token(installation.shared_secret, installation.installed_user_id, 60)
        world.platform.check_app_token(world.platform.organization("acme"), token)
        decoded = jwt.decode(token, installation.shared_secret, algorithms=["HS256"])
        assert decoded["exp"] - decoded["iat"] == 60
        answer = util.issue_app_token_by_remote(world.platform.user_token("acme"), world.origin())
        world.platform.check_app_token(world.platform.organization("acme"), answer["access_token"])
        for nonsense in ("nonsense", "", "é"):
            with pytest.raises(PlatformRefused):
                util.issue_app_token_by_remote(nonsense, world.origin())


def test_a_remote_token_that_is_no_object_is_a_typed_error(make_world: MakeWorld) -> None:
    world = make_world()
    with world.app.app_context():
        for body in (["a token"], "<h1>Login</h1>"):
            world.platform.faults.set(OPEN_API_PATH, status=200, body=body)
            with pytest.raises(PlatformInvalidResponse):
                world.orbro.token_util.issue_app_token_by_remote("token", world.origin())


@pytest.mark.parametrize(
    ("secret", "expires_in"),
    [("short", 60), ("", 60), ("\ud800" * 40, 60), (SECRET, 0), (SECRET, -1), (SECRET, math.nan),
     (SECRET, math.inf), (SECRET, 1e18)],
)  # fmt: skip
def test_what_makes_no_token_is_refused(make_world: MakeWorld, secret: str, expires_in: float) -> None:
    world = make_world(install=False)
    with world.app.app_context(), pytest.raises(ValueError, match=r"shared secret|lives"):
        world.orbro.token_util.issue_token(secret, "u-1", expires_in)


def test_a_leeway_as_long_as_a_life_is_refused_at_the_start(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(ConfigurationError, match="ORBRO_TOKEN_LEEWAY"):
        make_app(ORBRO_TOKEN_LIFETIME=60)
