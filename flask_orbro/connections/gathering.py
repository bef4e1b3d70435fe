"""Asking several back ends at once, with one deadline, and taking what has come by then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Self

from ..errors import ConnectionUnavailable
from ..http.network import deadline

Call = Callable[[], Any]
AsyncCall = Awaitable[Any] | Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Gathered(Mapping[str, Any]):
    """What several calls gave, by name; a mapping of those that gave something.

    ``gathered["weather"]`` raises the error of a call that failed; ``gathered.get("weather")`` is ``None``.
    """

    results: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name in self.errors:
            raise self.errors[name]
        return self.results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __contains__(self, name: object) -> bool:
        return name in self.results

    def get(self, name: str, default: Any = None) -> Any:
        return self.results.get(name, default)

    def raise_if_any(self) -> Self:
        """:returns: itself, where no call failed.

        :raises Exception: the error of the first that did.
        """
        for error in self.errors.values():
            raise error
        return self


def gather(*, timeout: float = 10.0, **calls: Call) -> Gathered:
    """Make several calls at once, each in a thread of its own.

    :param timeout: seconds for all of them; one that takes longer is a
        :class:`~flask_orbro.errors.ConnectionUnavailable`, and calls by connections end by then.
    :param calls: functions without arguments, by name.
    """
    return gather_in_threads(calls, timeout)


def gather_in_threads(
    calls: Mapping[str, Call], timeout: float, carry: Callable[[Call], Call] = lambda call: call
) -> Gathered:
    """As :func:`gather`.

    :param carry: gives a call what the threads lack; it is asked here, and what it gives runs there.
    """
    if not calls:
        return Gathered()
    threads = ThreadPoolExecutor(len(calls), thread_name_prefix="orbro-gather")
    try:
        with deadline(timeout):
            futures = {name: threads.submit(copy_context().run, carry(call)) for name, call in calls.items()}
        wait(futures.values(), timeout)
        return _gathered(futures, timeout)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def async_gather(*, timeout: float = 10.0, **calls: AsyncCall) -> Gathered:
    """As :func:`gather`, with awaitables or functions that give them; what is late is cancelled."""
    if not calls:
        return Gathered()
    with deadline(timeout):
        tasks = {
            name: asyncio.ensure_future(call() if callable(call) else call) for name, call in calls.items()
        }
    try:
        await asyncio.wait(tasks.values(), timeout=timeout)
        return _gathered(tasks, timeout)
    finally:
        await _cancel(task for task in tasks.values() if not task.done())


def _gathered(futures: Mapping[str, Future[Any] | asyncio.Future[Any]], timeout: float) -> Gathered:
    gathered = Gathered()
    for name, future in futures.items():
        if not future.done():
            said = f"'{name}' took longer than {timeout:g} s."
            gathered.errors[name] = ConnectionUnavailable(said, connection=name)
        elif (error := future.exception()) is None:
            gathered.results[name] = future.result()
        elif isinstance(error, Exception):
            gathered.errors[name] = error
        else:
            raise error
    return gathered


async def _cancel(late: Iterable[asyncio.Future[Any]]) -> None:
    tasks = list(late)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
