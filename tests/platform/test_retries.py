"""What is sent again, when, how often, and until when."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import httpx2
import pytest

from flask_orbro import PlatformUnavailable
from flask_orbro.http.network import patience
from flask_orbro.http.pool import HttpPool
from flask_orbro.http.retry import RetryPolicy, send_again
from flask_orbro.state import get_state
from flask_orbro.stores import redis_cache

from ..http.raw_server import RawServer, answer, hanging
from ..world import CONNECT_PATH, USERS_PATH
from .conftest import MakeCaller, MakeRawCaller, MakeWorld, client_of, tokens_of


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_fails_in_passing_is_sent_again(make_caller: MakeCaller, status: int) -> None:
    call = make_caller()
    call.world.platform.faults.set(USERS_PATH, status=status, times=2)
    assert call().status_code == 200
    assert call.world.platform.counts[USERS_PATH] == 3


def test_what_fails_for_good_is_not(make_caller: MakeCaller) -> None:
    call = make_caller()
    for count, status in enumerate((400, 401, 403, 404, 409, 500), 1):
        call.world.platform.faults.set(USERS_PATH, status=status, body={"error_code": "OTHER"})
        assert call().status_code == status
        assert call.world.platform.counts[USERS_PATH] == count


def test_the_last_answer_is_the_callers(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_ATTEMPTS=2)
    call.world.platform.faults.set(USERS_PATH, status=503, body={"error_code": "BUSY"})
    response = call()
    assert (response.status_code, response.json()) == (503, {"error_code": "BUSY"})
    assert call.world.platform.counts[USERS_PATH] == 2


def test_a_dropped_connection_is_tried_again(make_caller: MakeCaller) -> None:
    call = make_caller()
    call.world.platform.faults.set(USERS_PATH, drop=True, times=1)
    assert call().status_code == 200


def test_a_post_is_sent_again_only_where_the_caller_says_so(make_caller: MakeCaller) -> None:
    call = make_caller()
    body = {"email": "new@acme.example"}
    expected: list[tuple[dict[str, Any], int, int]] = [
        ({}, 503, 1),
        ({"retry": True}, 201, 2),
        ({"headers": {"idempotency-key": "k"}}, 409, 2),
    ]
    for options, status, sent in expected:
        call.world.platform.reset_log()
        call.world.platform.faults.set(USERS_PATH, status=503, times=1)
        assert call("POST", json=body, **options).status_code == status
        assert call.world.platform.counts[USERS_PATH] == sent
    call.world.platform.faults.set(USERS_PATH, status=503, times=1)
    assert call(retry=False).status_code == 503


def test_a_post_whose_connection_broke_is_not_sent_again(make_caller: MakeCaller) -> None:
    call = make_caller()
    call.world.platform.faults.set(USERS_PATH, drop=True, times=1)
    with pytest.raises(PlatformUnavailable):
        call("POST", json={"email": "new@acme.example"})
    assert len(tokens_of(call.world)) == 1


def test_a_post_whose_connection_could_not_be_opened_is(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_ATTEMPTS=20)
    call.world.simulator.stop()
    threading.Timer(0.3, call.world.simulator.start).start()
    assert call("POST", json={"email": "new@acme.example"}).status_code == 201


def test_a_restart_of_a_moment_is_outlasted(make_caller: MakeCaller) -> None:
    call = make_caller()
    assert call().status_code == 200
    call.world.simulator.stop()
    threading.Timer(0.5, call.world.simulator.start).start()
    assert call().status_code == 200


def test_the_waits_between_attempts_grow_and_differ() -> None:
    def waits() -> list[float]:
        slept: list[float] = []
        policy = RetryPolicy().repeating | {"sleep": slept.append}
        assert send_again(policy, lambda: httpx2.Response(503)).status_code == 503
        return slept

    seen = [waits() for _ in range(200)]
    for at, longest in enumerate((0.3, 0.6, 1.2)):
        found = [slept[at] for slept in seen]
        assert longest / 2 <= min(found) < max(found) <= longest
    assert {len(slept) for slept in seen} == {3}


def test_a_retry_after_that_is_a_date_is_waited_for_where_the_answer_has_none(
    make_raw_caller: MakeRawCaller,
) -> None:
    def respond(connection: socket.socket, _head: bytes) -> None:
        if len(world.server.requests) == 1:
            later = formatdate(time.time() + 3, usegmt=True)
            connection.sendall(answer(status="503 Busy", headers=f"Retry-After: {later}\r\n"))
        else:
            connection.sendall(answer())

    call, world = make_raw_caller(respond)
    began = time.monotonic()
    assert call().status_code == 200
    assert time.monotonic() - began >= 0.9


def test_a_retry_after_is_waited_for_and_a_long_one_is_not(make_caller: MakeCaller) -> None:
    call = make_caller()
    for wanted in (lambda: "1", lambda: formatdate(time.time() + 3, usegmt=True)):
        call.world.platform.faults.set(USERS_PATH, status=429, headers={"Retry-After": wanted()}, times=1)
        began = time.monotonic()
        assert call().status_code == 200
        assert time.monotonic() - began >= 0.9
    for wanted in ("600", formatdate(time.time() + 600, usegmt=True)):
        call.world.platform.faults.set(USERS_PATH, status=429, headers={"Retry-After": wanted}, times=1)
        began = time.monotonic()
        assert call().status_code == 429
        assert time.monotonic() - began < 0.9


def test_a_call_ends_within_its_budget(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_BUDGET=1, ORBRO_REQUEST_TIMEOUT=10)
    call.world.platform.faults.set(USERS_PATH, delay=6)
    began = time.monotonic()
    with pytest.raises(PlatformUnavailable):
        call()
    assert time.monotonic() - began < 2.5


def test_a_call_whose_refusal_is_looked_into_ends_within_its_budget(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_BUDGET=1, ORBRO_PROOF_TIMEOUT=8)
    world = call.world
    assert call().status_code == 200
    claim = {"organization_id": world.organization_id, "subdomain": "acme", "shared_secret": "f" * 40}
    world.client.post("/installed", json=claim)  # as anybody can
    inquiry = get_state(world.app).inquiry
    inquiry._clock = lambda: time.time() + 100  # so it may be asked about again
    world.platform.faults.set(USERS_PATH, status=401, body={"error_code": "OTHER"})
    world.platform.faults.set(CONNECT_PATH, delay=8)
    asked, began = len(tokens_of(world, CONNECT_PATH)), time.monotonic()
    with suppress(PlatformUnavailable):
        assert call().status_code == 401
    assert time.monotonic() - began < 4
    assert len(tokens_of(world, CONNECT_PATH)) == asked + 1


def test_a_redis_that_hangs_leaves_time_for_the_platform(
    make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_cache, "REDIS_TIMEOUT", 5.0)
    with hanging() as port:
        call = make_caller(ORBRO_REDIS_URL=f"redis://127.0.0.1:{port}/0", ORBRO_CALL_BUDGET=3)
        cache = get_state(call.world.app).platform.tokens._cache._cache
        assert isinstance(cache, redis_cache.RedisCache)
        cache._rest_until = 0.0  # this call finds out
        assert call().status_code == 200
        assert cache._rest_until > 0


def test_a_stream_begins_within_the_budget(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_BUDGET=1, ORBRO_REQUEST_TIMEOUT=10)
    call.world.platform.faults.set(USERS_PATH, delay=6)
    began = time.monotonic()
    with pytest.raises(PlatformUnavailable):
        call.download()
    assert time.monotonic() - began < 2.5


def test_no_wait_goes_past_the_budget(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_BUDGET=4, ORBRO_CALL_ATTEMPTS=20)
    call.world.platform.faults.set(USERS_PATH, status=503, headers={"Retry-After": "5"})
    began = time.monotonic()
    assert call().status_code == 503
    assert time.monotonic() - began < 3.9
    assert call.world.platform.counts[USERS_PATH] == 1


def test_waiting_for_a_free_connection_counts_too(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_POOL_SIZE=1, ORBRO_CALL_BUDGET=1, ORBRO_REQUEST_TIMEOUT=10)
    client = client_of(world)
    with client.stream("GET", USERS_PATH) as kept:
        began = time.monotonic()
        with pytest.raises(PlatformUnavailable):
            client.get(USERS_PATH)
        assert time.monotonic() - began < 2.5
        assert kept.status_code == 200


def test_a_server_that_reads_slowly_is_given_up_in_time() -> None:
    def respond(connection: socket.socket, _head: bytes) -> None:
        while not server.closing.wait(0.1) and connection.recv(10_000):
            pass
        connection.shutdown(socket.SHUT_RDWR)

    server, http = RawServer(respond), HttpPool(size=1, connect_timeout=1, request_timeout=10)
    began = time.monotonic()
    with pytest.raises(httpx2.TimeoutException), patience(1):
        http.client.post(f"http://a.localhost:{server.port}/", content=b"x" * 50_000_000)
    assert time.monotonic() - began < 3
    http.close()
    server.close()
