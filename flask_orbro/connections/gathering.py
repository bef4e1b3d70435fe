"""Asking several back ends at once, with one deadline, and taking what has come by then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Self

from ..errors import ConnectionUnavailable
from ..http.flight import in_thread
from ..http.network import deadline, seconds_left

Call = Callable[[], Any]
AsyncCall = Awaitable[Any] | Callable[[], Awaitable[Any]]

#: Calls in threads that were given up, and go on: as many at most in a process.
MOST_LATE = 64
#: How long a cancelled task may take to clean up, in seconds.
CLEAN_UP = 0.5

_late: set[Future[Any]] = set()
# The threads of a process are not those of its children.
os.register_at_fork(after_in_child=_late.clear)


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

    Calls by connections end in time. No thread can be ended from outside: one whose call is late goes on
    until the call ends by itself, or the process does. While :data:`MOST_LATE` do so no more are begun.

    :param timeout: seconds for all of them; one that takes longer is a
        :class:`~flask_orbro.errors.ConnectionUnavailable`.
    :param calls: functions without arguments, by name.
    :raises ValueError: where the timeout is negative.
    """
    return gather_in_threads(calls, timeout)


def gather_in_threads(
    calls: Mapping[str, Call], timeout: float, carry: Callable[[Call], Call] = lambda call: call
) -> Gathered:
    """As :func:`gather`.

    :param carry: gives a call what the threads lack; it is asked here, and what it gives runs there.
    """
    with _in_time(timeout):
        if len(_late) >= MOST_LATE:
            said = "Too many earlier calls have not ended yet."
            return Gathered(
                errors={name: ConnectionUnavailable(f"'{name}': {said}", connection=name) for name in calls}
            )
        futures = {
            name: in_thread(carry(call), name="orbro-gather", context=copy_context())
            for name, call in calls.items()
        }
        wait(futures.values(), seconds_left())
    for future in futures.values():
        if not future.done():
            _late.add(future)
            future.add_done_callback(_late.discard)
    return _gathered(futures, timeout)


async def async_gather(*, timeout: float = 10.0, **calls: AsyncCall) -> Gathered:
    """As :func:`gather`, with awaitables or functions that give them; what is late is cancelled."""
    with _in_time(timeout):
        tasks = {name: _task(call) for name, call in calls.items()}
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=max(0, seconds_left()))
            return _gathered(tasks, timeout)
        finally:
            await _cancel([task for task in tasks.values() if not task.done()])


@contextmanager
def _in_time(timeout: float) -> Iterator[None]:
    if not timeout >= 0:
        raise ValueError(f"A timeout is a number of seconds, not {timeout!r}.")
    with deadline(timeout):
        yield


def _task(call: AsyncCall) -> asyncio.Future[Any]:
    """What a call raises at once is its own error too."""
    if asyncio.isfuture(call) or asyncio.iscoroutine(call):
        return asyncio.ensure_future(call)

    async def made() -> Any:
        return await (call() if callable(call) else call)

    return asyncio.ensure_future(made())


def _gathered(futures: Mapping[str, Future[Any] | asyncio.Future[Any]], timeout: float) -> Gathered:
    gathered = Gathered()
    for name, future in futures.items():
        if not future.done():
            said = f"'{name}' took longer than {timeout:g} s."
            gathered.errors[name] = ConnectionUnavailable(said, connection=name)
        elif future.cancelled() or isinstance(future.exception(), asyncio.CancelledError):
            gathered.errors[name] = ConnectionUnavailable(f"'{name}' was cancelled.", connection=name)
        elif (error := future.exception()) is None:
            gathered.results[name] = future.result()
        elif isinstance(error, Exception):
            gathered.errors[name] = error
        else:
            raise error
    return gathered


async def _cancel(late: Sequence[asyncio.Future[Any]]) -> None:
    for task in late:
        task.add_done_callback(_taken_note_of)
        task.cancel()
    if late:
        # To clean up. Who does not let itself be cancelled is waited for no longer.
        await asyncio.wait(late, timeout=CLEAN_UP)


def _taken_note_of(task: asyncio.Future[Any]) -> None:
    """Else the loop would complain of an error that nobody has looked at."""
    if not task.cancelled():
        task.exception()
