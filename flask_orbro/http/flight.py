"""Single flight: callers that ask the same thing at the same time share one answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from typing import Generic, TypeVar

from .forks import anew_after_fork

T = TypeVar("T")


def in_thread(call: Callable[[], T], *, name: str, context: Context | None = None) -> Future[T]:
    """Run a call in a thread of its own, which keeps no process alive.

    :param context: what it runs in; by default it knows nothing of who started it, and of no deadline.
    """
    future: Future[T] = Future()
    # One of many that wait cannot cancel it for the others.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    runs_in = Context() if context is None else context
    threading.Thread(target=runs_in.run, args=(run,), name=name, daemon=True).start()
    return future


class SingleFlight(Generic[T]):
    """Runs one question per name at a time, in this process."""

    def __init__(self) -> None:
        anew_after_fork(self)

    def start_anew(self) -> None:
        """Forget what is under way: a forked child would wait for a thread that it does not have."""
        self._lock = threading.Lock()
        self._flights: dict[str, Future[T]] = {}

    def is_under_way(self, name: str) -> bool:
        """Whether somebody asks this at this moment."""
        with self._lock:
            return name in self._flights

    def __call__(self, name: str, ask: Callable[[], T], *, patience: float | None = None) -> T:
        """The answer of the question that is under way, or else of ``ask``.

        An error is shared as well: those who waited do not ask again in turn.

        :param patience: seconds to wait for somebody else's answer.
        :raises TimeoutError: where it took longer.
        """
        with self._lock:
            flight = self._flights.get(name)
            leads = flight is None
            if flight is None:
                flight = self._flights[name] = Future()
        if not leads:
            return flight.result(patience)
        try:
            flight.set_result(ask())
        except BaseException as error:
            flight.set_exception(error)
        finally:
            with self._lock:
                self._flights.pop(name, None)
        return flight.result()

    def begin(self, name: str, ask: Callable[[], T]) -> Future[T]:
        """The question that is under way, or else ``ask``, which goes on whoever stops waiting for it."""
        with self._lock:
            flight = self._flights.get(name)
            if flight is None:
                flight = self._flights[name] = in_thread(ask, name="orbro-question")
                flight.add_done_callback(lambda _: self._flights.pop(name, None))
            return flight
