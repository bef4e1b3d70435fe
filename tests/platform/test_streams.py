"""What is read while it is sent, or sent while it is read, is its caller's affair alone."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from flask_orbro import AsyncPlatformClient, PlatformClient, PlatformUnavailable

from ..world import USERS_PATH
from .conftest import MakeCaller, MakeWorld
from .test_body import answer_at


class SlowFile(io.BytesIO):
    """Says when it is read, and waits to be let go."""

    def __init__(self) -> None:
        super().__init__(b"walls")
        self.reached, self.go = threading.Event(), threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.reached.set()
        assert self.go.wait(10)
        return super().read(size)

    def parts(self) -> Iterator[bytes]:
        yield self.read()


BODIES: dict[str, Callable[[SlowFile], dict[str, Any]]] = {
    "a generator": lambda slow: {"content": slow.parts()},
    "a file": lambda slow: {"content": slow},
    "a form": lambda slow: {"files": {"plan": slow}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_slow_body_of_one_async_view_holds_up_no_other(
    make_world: MakeWorld, body: Callable[[SlowFile], dict[str, Any]]
) -> None:
    world, slow = make_world(install=False), SlowFile()

    @world.app.get("/up")
    async def up() -> dict[str, int]:
        client = world.orbro.async_client_for(world.organization_id)
        return {"status": (await client.post("/echo", **body(slow))).status_code}

    @world.app.get("/down")
    async def down() -> dict[str, int]:
        client = world.orbro.async_client_for(world.organization_id)
        return {"status": (await client.get(USERS_PATH)).status_code}

    world.install()
    received = answer_at(world, "/echo", [], b"{}")
    with ThreadPoolExecutor(2) as pool:
        upload = pool.submit(lambda: world.app.test_client().get("/up").json)
        try:
            assert slow.reached.wait(10)
            assert pool.submit(lambda: world.app.test_client().get("/down").json).result(5) == {"status": 200}
            assert not upload.done()
        finally:
            slow.go.set()
        assert upload.result(10) == {"status": 200}
    assert b"walls" in received[0]


def elsewhere() -> httpx2.ConnectError:
    """The error of a call of another service."""
    with pytest.raises(httpx2.ConnectError) as raised:
        httpx2.get("http://127.0.0.1:1")
    return raised.value


ERRORS: dict[str, Callable[[], Exception]] = {
    "of a call": elsewhere,
    "made by hand": lambda: httpx2.ReadError("theirs"),
    "of their protocol": lambda: httpx2.LocalProtocolError("theirs"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_an_error_of_another_call_while_a_stream_is_read_stays_what_it_is(
    make_caller: MakeCaller, error: Callable[[], Exception]
) -> None:
    call, theirs = make_caller(), error()

    def work(client: PlatformClient) -> None:
        with client.stream("GET", USERS_PATH):
            raise theirs

    async def awaited(client: AsyncPlatformClient) -> None:
        async with client.stream("GET", USERS_PATH):
            raise theirs

    with pytest.raises(type(theirs)) as raised:
        call.run(work, awaited)
    assert raised.value is theirs


BROKEN = {"cut off": [("Content-Length", "100")], "not what it says": [("Content-Encoding", "gzip")]}


@pytest.mark.parametrize("headers", BROKEN.values(), ids=BROKEN)
def test_a_download_that_breaks_off_is_counted_as_failed(
    make_caller: MakeCaller, headers: list[tuple[str, str]]
) -> None:
    call = make_caller(ORBRO_METRICS=True)
    answer_at(call.world, "/short", headers, b"short")
    with pytest.raises(PlatformUnavailable):
        call.download("/short", timeout=0.3)
    call.download()
    with call.world.app.app_context():
        sample = call.world.orbro.metrics_registry.get_sample_value
    outcomes = {
        outcome: sample("orbro_call_seconds_count", {"method": "GET", "outcome": outcome})
        for outcome in ("failed", "2xx")
    }
    assert outcomes == {"failed": 1, "2xx": 1}
