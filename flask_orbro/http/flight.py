"""Single flight: callers that ask the same thing at the same time share one answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one question per name at a time, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Future[T]] = {}

    def is_under_way(self, name: str) -> bool:
        """Whether somebody asks this at this moment."""
        with self._lock:
            return name in self._flights

    def __call__(self, name: str, ask: Callable[[], T]) -> T:
        """The answer of the question that is under way, or else of ``ask``.

        An error is shared as well: those who waited do not ask again in turn.
        """
        with self._lock:
            flight = self._flights.get(name)
            leads = flight is None
            if flight is None:
                flight = self._flights[name] = Future()
        if not leads:
            return flight.result()
        try:
            flight.set_result(ask())
        except BaseException as error:
            flight.set_exception(error)
        finally:
            with self._lock:
                del self._flights[name]
        return flight.result()
