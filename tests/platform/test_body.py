"""Bodies are sent again whole, or not at all: after a refused token, a passing fault, a broken connection."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flask_orbro import PlatformUnavailable

from ..world import USERS_PATH, World
from .conftest import Caller, MakeCaller, MakeWorld, client_of

BODY = b'{"email": "new@acme.example"}'
EXPIRED = {"status": 401, "body": {"error_code": "TOKEN_EXPIRED"}, "times": 1}
BUSY = {"status": 503, "times": 1}


def bodies_of(world: World) -> list[bytes]:
    """The bodies that reach the platform, filled as they come."""
    bodies: list[bytes] = []

    def look(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] == USERS_PATH:
            bodies.append(environ["wsgi.input"].read())
            environ["wsgi.input"].seek(0)

    world.watch(look)
    return bodies


class Parts:
    """Begins anew each time it is iterated, either way."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([BODY[:5], BODY[5:]])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


class Opener:
    """Opens what a test sends, and closes it again."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def file(self, before: bytes = b"", body: bytes = BODY) -> io.BufferedReader:
        path = self._folder / "body.json"
        path.write_bytes(before + body)
        file = self._stack.enter_context(path.open("rb"))
        file.seek(len(before))
        return file

    def pipe(self) -> io.BufferedReader:
        reader, writer = os.pipe()
        os.write(writer, BODY)
        os.close(writer)
        return self._stack.enter_context(os.fdopen(reader, "rb"))


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield Opener(tmp_path, stack)


def generated() -> Iterator[bytes]:
    yield BODY[:5]
    yield BODY[5:]


async def generated_later() -> AsyncIterator[bytes]:
    yield BODY[:5]
    yield BODY[5:]


AGAIN: dict[str, Callable[[Opener], Any]] = {
    "bytes": lambda _: BODY,
    "text": lambda _: BODY.decode(),
    "a list": lambda _: [BODY[:5], BODY[5:]],
    "an iterable": lambda _: Parts(),
    "memory": lambda _: io.BytesIO(BODY),
    "a file, from where it stands": lambda opener: opener.file(before=b"before it "),
}
ONCE: dict[str, Callable[[Opener], Any]] = {
    "a generator": lambda _: generated(),
    "an iterator": lambda _: iter([BODY[:5], BODY[5:]]),
    "a pipe": lambda opener: opener.pipe(),
}


def named(bodies: dict[str, Callable[[Opener], Any]]) -> Any:
    return pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in bodies.items()])


@named(AGAIN)
def test_a_body_that_can_be_read_again_is_sent_again_whole(
    make_caller: MakeCaller, opener: Opener, body: Callable[[Opener], Any]
) -> None:
    call = make_caller()
    bodies = bodies_of(call.world)
    for fault in (EXPIRED, BUSY):
        bodies.clear()
        call.world.platform.faults.set(USERS_PATH, **fault)
        call("PUT", content=body(opener))
        assert bodies == [BODY] * 2


def send_once(call: Caller, content: Any) -> None:
    """Assert what a body that can be read once comes to."""
    bodies = bodies_of(call.world)
    call.world.platform.faults.set(USERS_PATH, **EXPIRED)
    with pytest.raises(PlatformUnavailable, match="make the call anew") as raised:
        call("PUT", content=content())
    assert raised.value.retry_after == 1
    assert bodies == [BODY]
    bodies.clear()
    call.world.platform.faults.set(USERS_PATH, **BUSY)
    assert call("PUT", content=content(), retry=True).status_code == 503, "the answer is the caller's"
    assert bodies == [BODY]
    bodies.clear()
    assert call("POST", content=content()).status_code == 201
    assert bodies == [BODY]


@named(ONCE)
def test_a_stream_is_sent_once_and_what_to_do_is_said(
    make_caller: MakeCaller, opener: Opener, body: Callable[[Opener], Any]
) -> None:
    send_once(make_caller(), lambda: body(opener))


def test_an_asynchronous_stream_is_sent_once_too(make_caller: MakeCaller) -> None:
    call = make_caller()
    if call.is_async:
        send_once(call, generated_later)


def test_a_stream_of_which_nothing_was_sent_is_sent_after_all(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_CALL_ATTEMPTS=20)
    call.world.simulator.stop()
    threading.Timer(0.3, call.world.simulator.start).start()
    assert call("POST", content=generated()).status_code == 201


def test_files_of_a_form_are_sent_again_whole(make_caller: MakeCaller, opener: Opener) -> None:
    call = make_caller()
    bodies = bodies_of(call.world)
    for files in (
        {"plan": b"walls"},
        {"plan": ("plan.txt", io.BytesIO(b"walls"))},
        [("plan", opener.file(body=b"walls"))],
        iter([("plan", io.BytesIO(b"walls"))]),
    ):
        bodies.clear()
        call.world.platform.faults.set(USERS_PATH, **EXPIRED)
        call("POST", data={"title": "a plan"}, files=files)
        first, second = bodies
        assert first == second
        assert b"walls" in first
        assert b"a plan" in first


class Reader:
    """A file of which nothing is known but that it can be read."""

    def __init__(self) -> None:
        self.read = io.BytesIO(b"walls").read


def test_a_file_of_a_form_that_cannot_be_read_again_is_reported(make_caller: MakeCaller) -> None:
    call = make_caller()
    bodies = bodies_of(call.world)
    call.world.platform.faults.set(USERS_PATH, **EXPIRED)
    with pytest.raises(PlatformUnavailable, match="make the call anew"):
        call("POST", files={"plan": Reader()})
    assert [b"walls" in body for body in bodies] == [True]


def test_a_file_that_shrinks_is_refused_and_not_waited_for(make_world: MakeWorld, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a" * 200_000)

    class Shrinking(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            os.truncate(path, 100)
            return super().read(-1 if size is None else size)

    with Shrinking(path) as file, pytest.raises(ValueError, match="does not fit"):
        client_of(make_world()).post(USERS_PATH, content=file)


def answer_at(world: World, path: str, headers: list[tuple[str, str]], body: bytes) -> list[bytes]:
    """Have the platform answer a path so; the bodies that reach it there."""
    inner = world.simulator.app.wsgi_app
    received: list[bytes] = []

    def answering(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != path:
            return inner(environ, start_response)
        received.append(environ["wsgi.input"].read())
        start_response("200 OK", headers)
        return [body]

    world.simulator.app.wsgi_app = answering  # type: ignore[method-assign]
    return received


def test_large_bodies_stream_up_and_down(make_caller: MakeCaller) -> None:
    call = make_caller()
    large = [b"%d" % number * 1000 for number in range(1000, 1200)]
    received = answer_at(call.world, "/echo", [], b"".join(large))

    async def later() -> AsyncIterator[bytes]:
        for part in large:
            yield part

    content: Any = later() if call.is_async else iter(large)
    assert call("POST", "/echo", content=content).content == b"".join(large)
    assert received == [b"".join(large)]
    parts = call.download("/echo")
    assert len(parts) > 1
    assert b"".join(parts) == b"".join(large)


def test_a_body_that_is_read_twice_is_the_callers_own_mistake(make_world: MakeWorld) -> None:
    def read_twice() -> None:
        with client_of(make_world()).stream("GET", USERS_PATH) as response:
            for _ in range(2):
                list(response.iter_raw())

    with pytest.raises(httpx2.StreamConsumed):
        read_twice()


def test_a_stream_that_breaks_off_is_a_typed_error(make_caller: MakeCaller) -> None:
    call = make_caller()
    answer_at(call.world, "/short", [("Content-Length", "100")], b"short")
    with pytest.raises(PlatformUnavailable):
        call.download("/short", timeout=0.3)
    assert b"admin@acme.example" in b"".join(call.download())
