"""An event loop that outlives others: async views, each in a loop of its own, keep connections there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
import httpx2

from .forks import ProcessLock

T = TypeVar("T")

_brief: ContextVar[bool] = ContextVar("orbro_brief_loops", default=False)


@contextmanager
def brief_loops() -> Iterator[None]:
    """Each event loop that is started in this context ends soon: none is a place to keep connections."""
    token = _brief.set(True)
    try:
        yield
    finally:
        _brief.reset(token)


def loops_are_brief() -> bool:
    """Whether this is within :func:`brief_loops`."""
    return _brief.get()


async def run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in another running loop; it has ended when this ends. Cancelling this cancels it."""
    # One of anyio: the HTTP library shields what it tidies up from these alone.
    scope = anyio.CancelScope()

    async def scoped() -> T:
        with scope:
            return await work
        raise asyncio.CancelledError

    there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(scoped(), loop))
    try:
        await asyncio.wait([there])
    except asyncio.CancelledError:
        with suppress(RuntimeError):  # that loop is closed
            loop.call_soon_threadsafe(scope.cancel)
        await _ended(there, loop)
        raise
    return there.result()


async def run_to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that must not be cut short: cancelling this takes effect once it has ended."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await _ended(task, task.get_loop())
        raise
    return task.result()


async def _ended(work: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
    """Wait for what runs in a loop, however often we are cancelled: what it holds, nobody else gives back."""
    with anyio.CancelScope(shield=True):
        while not (work.done() or loop.is_closed()):
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work], timeout=1)
    if work.done() and not work.cancelled():
        work.exception()  # else asyncio complains that nobody has looked at it


class GivenBackStream(httpx2.AsyncByteStream):
    """A body whose connection is given back, whenever its reader is cancelled.

    The HTTP library shields the giving back from anyio's cancelling, but not from asyncio's own.
    """

    def __init__(self, stream: Any) -> None:
        self._stream: httpx2.AsyncByteStream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        await run_to_its_end(self._stream.aclose())


class CarriedStream(httpx2.AsyncByteStream):
    """A body that one event loop provides and another reads, part by part."""

    def __init__(self, stream: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._stream: httpx2.AsyncByteStream = stream
        self._loop = loop

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._stream)

        async def following() -> bytes | None:
            return await anext(parts, None)

        while (part := await run_in(self._loop, following())) is not None:
            yield part

    async def aclose(self) -> None:
        await run_in(self._loop, self._stream.aclose())


class LoopThread:
    """An event loop in a thread of its own, started when first needed and anew after a fork."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._pid = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of this process; it runs."""
        loop = self._loop
        if loop is not None and self._pid == os.getpid():
            return loop
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = self._started(), os.getpid()
            return self._loop

    def close(self) -> None:
        """End the loop, with what it keeps open; the next use starts another."""
        with self._lock:
            thread, loop, self._thread, self._loop = self._thread, self._loop, None, None
        if thread is None or loop is None or self._pid != os.getpid():
            return
        loop.call_soon_threadsafe(self._stop.set)
        if thread is not threading.current_thread():
            thread.join(timeout=5)

    def _started(self) -> asyncio.AbstractEventLoop:
        running: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()

        async def live(stop: asyncio.Event) -> None:
            running.set_result(asyncio.get_running_loop())
            await stop.wait()

        self._thread = threading.Thread(
            target=asyncio.run, args=(live(self._stop),), name="orbro-calls", daemon=True
        )
        self._thread.start()
        return running.result()
