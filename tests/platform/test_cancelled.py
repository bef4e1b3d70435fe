"""Whoever gives up on an async call, and at whatever moment, leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

from flask_orbro import AsyncPlatformClient
from flask_orbro.state import get_state

from ..world import USERS_PATH, World
from .conftest import Caller, MakeWorld

#: The pool is so small that one connection which is never given back is missed at once.
SMALL = {"ORBRO_POOL_SIZE": 1, "ORBRO_REQUEST_TIMEOUT": 2, "ORBRO_CALL_ATTEMPTS": 1}


async def asked(client: AsyncPlatformClient) -> None:
    await client.get(USERS_PATH)


async def downloaded(client: AsyncPlatformClient) -> None:
    async with client.stream("GET", USERS_PATH) as response:
        await response.aread()


Call = Callable[[AsyncPlatformClient], Awaitable[None]]
each_call = pytest.mark.parametrize("call", [asked, downloaded])


@pytest.fixture(params=["asyncio", "async view"])
def caller(request: pytest.FixtureRequest, make_world: MakeWorld) -> Caller:
    made = Caller(make_world(install=False, **SMALL), request.param)
    made.world.install()
    return made


def requests_of(world: World) -> list[Any]:
    """What the pools of this moment have to do."""
    clients = [client for client, _ in get_state(world.app).http._async_clients.values()]
    transports: list[Any] = [client._transport for client in clients]
    return [request for transport in transports for request in transport._pool._requests]


def run(caller: Caller, give_up: Callable[[AsyncPlatformClient], Awaitable[None]]) -> None:
    """Assert that the pool has nothing to do and serves the next call, once somebody has given up."""

    async def main(client: AsyncPlatformClient) -> int:
        await give_up(client)
        assert requests_of(caller.world) == []
        return (await client.get(USERS_PATH)).status_code

    assert caller.run(None, main) == 200  # type: ignore[arg-type]


@each_call
def test_given_up_in_the_moment_of_the_answer(caller: Caller, call: Call) -> None:
    reached, answered = threading.Event(), threading.Event()
    caller.world.watch(lambda environ: environ["PATH_INFO"] == USERS_PATH and reached.set())

    async def give_up(client: AsyncPlatformClient) -> None:
        task = asyncio.ensure_future(call(client))
        while not reached.is_set():
            await asyncio.sleep(0.001)
        # Our loop stands still while the answer comes.
        answered.wait(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(caller, give_up)


def test_given_up_while_a_stream_is_closed(caller: Caller) -> None:
    async def give_up(client: AsyncPlatformClient) -> None:
        with anyio.CancelScope() as scope:
            async with client.stream("GET", USERS_PATH):
                scope.cancel()

        async def closing() -> None:
            async with client.stream("GET", USERS_PATH):
                asyncio.current_task().cancel()  # type: ignore[union-attr]

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(closing())

    run(caller, give_up)


def test_given_up_while_the_platform_is_silent(caller: Caller) -> None:
    caller.world.platform.faults.set(USERS_PATH, delay=30)

    async def give_up(client: AsyncPlatformClient) -> None:
        for call in (asked, downloaded):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await call(client)
        caller.world.platform.faults.clear()

    began = time.monotonic()
    run(caller, give_up)
    assert time.monotonic() - began < 10


@asynccontextmanager
async def anyio_timeout(seconds: float) -> Any:
    with anyio.fail_after(seconds):
        yield


@each_call
@pytest.mark.parametrize("timeout", [asyncio.timeout, anyio_timeout])
def test_given_up_at_any_moment(
    caller: Caller, call: Call, timeout: Callable[[float], AbstractAsyncContextManager[Any]]
) -> None:
    moments = random.Random(4)

    async def give_up(client: AsyncPlatformClient) -> None:
        for _ in range(150):
            try:
                async with timeout(moments.uniform(0, 0.01)):
                    await call(client)
            except TimeoutError:
                pass

    run(caller, give_up)
