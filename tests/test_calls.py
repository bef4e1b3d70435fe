"""Calls to the platform when it is slow, limited, gone, or of another opinion about the time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from flask import Flask

from flask_orbro import (
    ConnectAppToken,
    NotAllowed,
    PlatformRefused,
    PlatformResponse,
    PlatformUnavailable,
)
from flask_orbro.simulator import Platform, SimulatorServer

from .world import USERS_PATH, World


class Caller:
    """Calls as a sync or an async program does, with the same words."""

    def __init__(self, world: World, mode: str) -> None:
        self._world, self._mode = world, mode

    def __call__(self, method: str, path: str = USERS_PATH, **options: Any) -> PlatformResponse:
        who = self._world.organization_id
        if self._mode == "sync":
            client = self._world.orbro.client_for(who, app=self._world.app)
            return client.request(method, path, **options)

        async def call() -> PlatformResponse:
            client = self._world.orbro.async_client_for(who, app=self._world.app)
            return await client.request(method, path, **options)

        return asyncio.run(call())


@pytest.fixture(params=["sync", "async"])
def make_caller(
    request: pytest.FixtureRequest, make_world: Callable[..., World]
) -> Callable[..., tuple[World, Caller]]:
    def make(**config: Any) -> tuple[World, Caller]:
        world = make_world(**config)
        return world, Caller(world, request.param)

    return make


MakeCaller = Callable[..., tuple[World, Caller]]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_fails_in_passing_is_sent_again(make_caller: MakeCaller, status: int) -> None:
    world, call = make_caller()
    world.platform.faults.set(USERS_PATH, status=status, times=2)
    assert call("GET").status_code == 200
    assert world.platform.counts[USERS_PATH] == 3


def test_a_dropped_connection_is_tried_again(make_caller: MakeCaller) -> None:
    world, call = make_caller()
    world.platform.faults.set(USERS_PATH, drop=True, times=1)
    assert call("GET").status_code == 200


def test_a_post_is_sent_again_only_where_the_caller_says_so(make_caller: MakeCaller) -> None:
    world, call = make_caller()
    body = {"email": "new@acme.example"}
    expected = [({}, 503, 1), ({"retry": True}, 201, 2), ({"headers": {"Idempotency-Key": "k"}}, 409, 2)]
    for options, status, sent in expected:
        world.platform.reset_log()
        world.platform.faults.set(USERS_PATH, status=503, times=1)
        assert call("POST", json=body, **options).status_code == status
        assert world.platform.counts[USERS_PATH] == sent
    world.platform.faults.set(USERS_PATH, status=503, times=1)
    assert call("GET", retry=False).status_code == 503


def test_a_retry_after_is_waited_for_and_a_long_one_is_not(make_caller: MakeCaller) -> None:
    world, call = make_caller()
    world.platform.faults.set(USERS_PATH, status=429, headers={"Retry-After": "1"}, times=1)
    began = time.monotonic()
    assert call("GET").status_code == 200
    assert time.monotonic() - began >= 1
    world.platform.faults.set(USERS_PATH, status=429, headers={"Retry-After": "600"}, times=1)
    began = time.monotonic()
    assert call("GET").status_code == 429
    assert time.monotonic() - began < 1


def test_a_call_ends_within_its_budget(make_caller: MakeCaller) -> None:
    world, call = make_caller(ORBRO_CALL_BUDGET=1, ORBRO_REQUEST_TIMEOUT=10)
    world.platform.faults.set(USERS_PATH, delay=6)
    began = time.monotonic()
    with pytest.raises(PlatformUnavailable):
        call("GET")
    assert time.monotonic() - began < 2.5


def test_a_body_that_cannot_be_sent_again_is_reported(make_world: Callable[..., World]) -> None:
    world = make_world()
    client = world.orbro.client_for(world.organization_id, app=world.app)
    world.platform.faults.set(USERS_PATH, status=401, body={"error_code": "TOKEN_EXPIRED"}, times=1)
    with pytest.raises(PlatformUnavailable, match="cannot be"):
        client.post(USERS_PATH, content=(part for part in [b"{}", b""]))


def test_bodies_stream_down(make_world: Callable[..., World]) -> None:
    world = make_world()
    client = world.orbro.client_for(world.organization_id, app=world.app)
    with client.stream("GET", USERS_PATH) as response:
        assert b"admin@acme.example" in b"".join(response.iter_bytes())

    async def download() -> bytes:
        async_client = world.orbro.async_client_for(world.organization_id, app=world.app)
        async with async_client.stream("GET", USERS_PATH) as response:
            return b"".join([chunk async for chunk in response.aiter_bytes()])

    assert b"admin@acme.example" in asyncio.run(download())


def test_many_calls_of_one_event_loop_share_connections(make_world: Callable[..., World]) -> None:
    world = make_world()

    async def many() -> list[int]:
        client = world.orbro.async_client_for(world.organization_id, app=world.app)
        calls: list[Coroutine[Any, Any, PlatformResponse]] = [client.get(USERS_PATH) for _ in range(30)]
        return [response.status_code for response in await asyncio.gather(*calls)]

    assert asyncio.run(many()) == [200] * 30


def test_calls_for_one_organization_are_bounded(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_CALLS_PER_ORGANIZATION=2)
    world.platform.faults.set(USERS_PATH, delay=0.8)
    outcomes: Counter[str] = Counter()

    def call() -> None:
        try:
            client = world.orbro.client_for(world.organization_id, app=world.app)
            outcomes[str(client.get(USERS_PATH).status_code)] += 1
        except PlatformUnavailable as error:
            outcomes[f"full, {error.retry_after}"] += 1

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"200": 2, "full, 1": 4}
    world.platform.faults.clear()
    assert world.orbro.client_for(world.organization_id, app=world.app).get(USERS_PATH).status_code == 200


@pytest.mark.parametrize("ahead", [300, -300])
def test_a_platform_whose_clock_differs_is_understood(
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    settings: dict[str, Any],
    ahead: int,
) -> None:
    with SimulatorServer(platform=Platform(clock=lambda: time.time() + ahead)) as simulator:
        hosts = {"ORBRO_PLATFORM_HOST": simulator.platform_host}
        world = World(make_app, serving, simulator, **hosts)
        client = world.orbro.client_for(world.organization_id, app=world.app)
        for _ in range(5):
            assert client.get(USERS_PATH).status_code == 200
        shown = [token for path, token in world.seen if path == USERS_PATH]
        assert len(shown) <= 6, "once the difference is known, nothing is refused"
        assert len(set(shown[-4:])) == 1


def test_a_token_is_renewed_once_by_many_threads(make_world: Callable[..., World]) -> None:
    world = make_world()
    client = world.orbro.client_for(world.organization_id, app=world.app)
    assert client.get(USERS_PATH).status_code == 200
    with world.app.app_context():
        world.orbro.token_store.delete(world.organization_id)
    world.seen.clear()
    start = threading.Barrier(32)

    def call() -> None:
        start.wait()
        assert client.get(USERS_PATH).status_code == 200

    threads = [threading.Thread(target=call) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({token for path, token in world.seen if path == USERS_PATH}) == 1


def test_the_token_store_keeps_what_it_is_given(make_world: Callable[..., World]) -> None:
    world = make_world()
    with world.app.app_context():
        store = world.orbro.token_store
        store.set_token(ConnectAppToken("o-1", "a-token"), expires_in=0.3)
        assert store.get_token("o-1") == ConnectAppToken("o-1", "a-token")
        assert "a-token" not in repr(store.get_token("o-1"))
        time.sleep(0.35)
        assert store.get_token("o-1") is None
        store.delete("o-1")


def test_tokens_are_made_by_hand_and_by_the_platform(make_world: Callable[..., World]) -> None:
    world = make_world()
    installation = world.platform.installation("acme")
    with world.app.app_context():
        util = world.orbro.token_util
        token = util.issue_token(installation.shared_secret, installation.installed_user_id, 60)
        world.platform.check_app_token(world.platform.organization("acme"), token)
        origin = f"http://acme.{world.simulator.platform_host}"
        answer = util.issue_app_token_by_remote(world.platform.user_token("acme"), origin)
        world.platform.check_app_token(world.platform.organization("acme"), answer["access_token"])
        with pytest.raises(PlatformRefused):
            util.issue_app_token_by_remote("nonsense", origin)


def test_an_organization_is_named_by_its_subdomain_or_by_who_installed_it(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    user_id = world.platform.installation("acme").installed_user_id
    with world.app.app_context():
        for named in ({"subdomain": "ACME"}, {"user_id": user_id}):
            assert world.orbro.client_for(**named).get(USERS_PATH).status_code == 200
        for unknown in ({"subdomain": "nobody"}, {"user_id": "nobody"}, {}):
            with pytest.raises(NotAllowed):
                world.orbro.client_for(**unknown)


def test_calls_are_counted(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_METRICS=True)
    world.orbro.client_for(world.organization_id, app=world.app).get(USERS_PATH)
    with world.app.app_context():
        sample = world.orbro.metrics_registry.get_sample_value
    assert sample("orbro_call_seconds_count", {"method": "GET", "outcome": "2xx"}) == 1
