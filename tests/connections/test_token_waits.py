"""Who waits for a token, for how long, and who does not."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
import redis

from flask_orbro import ConnectionUnavailable
from flask_orbro.connections import AsyncConnection
from flask_orbro.http.network import deadline
from flask_orbro.stores.cache import MemoryCache
from flask_orbro.stores.redis_cache import RedisCache

from ..conftest import need_service
from .backend import Backend, running_backend
from .calls import Calls


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


class SharedCache(MemoryCache):
    """As of two processes."""

    shared = True


@pytest.mark.parametrize("form", ["sync", "async"])
def test_nobody_waits_for_a_renewal_while_the_old_token_is_good(backend: Backend, form: str) -> None:
    call = Calls(form, backend, timeout=20)
    call()
    call.clock.ahead = 580
    backend.gives.clear()
    # The token URL hangs, for all of these.
    assert [call.now() for _ in range(5)] == [200] * 5
    assert len(backend.tokens) == 1
    backend.gives.set()
    call.settle()
    assert (call(), len(backend.tokens), len(backend.paths("/token"))) == (200, 2, 2)


def test_a_process_that_begins_shows_the_good_token_of_another(backend: Backend) -> None:
    cache = SharedCache()
    Calls("sync", backend, cache=cache, timeout=20)()
    begun = Calls("sync", backend, cache=cache, timeout=20)
    begun.clock.ahead = 580
    backend.gives.clear()
    assert [begun.now() for _ in range(3)] == [200] * 3
    backend.gives.set()
    begun.settle()
    assert len(backend.tokens) == 2


@pytest.mark.parametrize("form", ["sync", "async"])
def test_who_waits_for_a_token_waits_no_longer_than_its_own_time(backend: Backend, form: str) -> None:
    call = Calls(form, backend, timeout=20)
    backend.gives.clear()
    with (
        deadline(0.3),
        pytest.raises(ConnectionUnavailable, match="'notes' cannot be used: Its token has not come in time"),
    ):
        call.now()
    # That was its own lack of time: it keeps nobody else from having the token once it comes.
    backend.gives.set()
    assert (call(), len(backend.paths("/token"))) == (200, 1)


def test_the_turn_of_a_process_that_was_killed_leaves_time_to_ask(backend: Backend) -> None:
    client = redis.Redis.from_url("redis://127.0.0.1:6379/0")
    need_service("Redis", client.ping)
    cache = RedisCache(client)
    call = Calls("sync", backend, cache=cache, timeout=4, audience=uuid.uuid4().hex)
    assert call.parts.tokens is not None
    cache.add(f"{call.parts.tokens._kept_as}:lock", b"of the dead", 60)
    assert call() == 200
    client.close()


def test_a_token_url_that_hangs_holds_up_no_other_connection(backend: Backend) -> None:
    with running_backend() as hanging:
        hanging.gives.clear()
        waits = AsyncConnection.of(Calls("async", hanging, timeout=60).parts)
        good = AsyncConnection.of(Calls("async", backend, timeout=20).parts)

        async def main() -> list[int]:
            waiting = [asyncio.ensure_future(waits.get("/guarded")) for _ in range(60)]
            await asyncio.sleep(0.1)
            answers = [await good.get(path) for path in ("/guarded", "/status/404", "/status/403")]
            backend.revoke()
            answers.append(await good.get("/guarded"))
            # The loop's own threads are free as well.
            await asyncio.wait_for(asyncio.to_thread(time.sleep, 0), 20)
            assert not any(task.done() for task in waiting)
            hanging.gives.set()
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
            return [answer.status_code for answer in answers]

        assert asyncio.run(main()) == [200, 404, 403, 200]
        assert len(hanging.tokens) == 1


def test_a_task_that_waits_no_more_leaves_the_token_to_the_others(backend: Backend) -> None:
    backend.gives.clear()
    connection = AsyncConnection.of(Calls("async", backend, timeout=20).parts)

    async def main() -> int:
        one, other = (asyncio.ensure_future(connection.get("/guarded")) for _ in range(2))
        await asyncio.sleep(0.1)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        backend.gives.set()
        return (await other).status_code

    assert asyncio.run(main()) == 200


def test_one_token_is_asked_for_by_many_threads(backend: Backend) -> None:
    call = Calls("sync", backend)
    for ahead, made in ((0, 1), (600, 2)):
        call.clock.ahead = ahead
        ready = threading.Barrier(32)
        statuses: list[int] = []

        def run(ready: threading.Barrier = ready, statuses: list[int] = statuses) -> None:
            ready.wait()
            statuses.append(call.now())

        threads = [threading.Thread(target=run) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        call.settle()
        assert (statuses, len(backend.tokens)) == ([200] * 32, made)


def test_one_token_is_asked_for_by_many_tasks_and_the_loop_goes_on(backend: Backend) -> None:
    connection = AsyncConnection.of(Calls("async", backend).parts)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def main() -> list[int]:
        ticking = asyncio.ensure_future(tick())
        answers = await asyncio.gather(*(connection.get("/guarded") for _ in range(32)))
        ticking.cancel()
        return [answer.status_code for answer in answers]

    slow = backend.app.view_functions["token"]
    backend.app.view_functions["token"] = lambda: (time.sleep(0.3), slow())[1]
    assert asyncio.run(main()) == [200] * 32
    assert len(backend.tokens) == 1
    assert ticks > 10
