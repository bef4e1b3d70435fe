"""Running handlers, and waiting only so long for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from queue import SimpleQueue
from typing import Any

from ..logs import get_logger

logger = get_logger(__name__)

#: Functions that go on at most though nobody waits for them any more.
MOST = 64


class TimeLimitExceeded(Exception):
    """A handler took longer than it may."""


class TooManyHang(Exception):
    """So many functions took too long, and go on, that no further one is begun."""


class TimeLimiter:
    """Runs functions in threads that are used again. A function cannot be ended from outside: one that takes
    too long is left alone, and its thread ends when it does.
    """

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._hanging = 0
        self._idle: list[_Thread] = []

    def check_room(self) -> None:
        """:raises TooManyHang: nothing should be begun now."""
        if self._hanging >= MOST and self._pid == os.getpid():
            raise TooManyHang(f"{self._hanging} handlers took too long, and go on.")

    def run(self, function: Callable[[], None], seconds: float) -> None:
        """:raises TimeLimitExceeded: and the function goes on.
        :raises Exception: whatever it raises.
        """
        if self._pid != os.getpid():  # threads do not survive a fork
            self._start_anew()
        try:
            thread = self._idle.pop()
        except IndexError:
            thread = _Thread(partial(self._count, -1))
        job = thread.begin(function)
        wait([job], seconds)
        if not job.done() and thread.leave():
            self._count(1)
            raise TimeLimitExceeded(f"It took longer than {seconds:g} s.")
        self._idle.append(thread)
        job.result()

    def close(self) -> None:
        """End the threads that do nothing."""
        while self._pid == os.getpid() and self._idle:
            self._idle.pop().begin(None)

    def _count(self, change: int) -> None:
        with self._lock:
            self._hanging += change
            full = change > 0 and self._hanging == MOST
        if full:
            logger.error(
                "%d handlers took too long, and go on: this process handles nothing more until one of "
                "them ends. Give what they wait for a time-out.",
                MOST,
            )


class _Thread:
    """One thread, which does one thing after the other until it is left."""

    def __init__(self, left: Callable[[], Any]) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None] | None, Future[None]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy = self._is_left = False
        self._left = left
        threading.Thread(target=self._run, name="orbro-handler", daemon=True).start()

    def begin(self, function: Callable[[], None] | None) -> Future[None]:
        job: Future[None] = Future()
        self._busy = True
        self._jobs.put((function, job))
        return job

    def leave(self) -> bool:
        """:returns: ``False`` where it has just finished."""
        with self._lock:
            self._is_left = self._busy
            return self._is_left

    def _run(self) -> None:
        while True:
            function, job = self._jobs.get()
            if function is None:
                return
            error: Exception | None = None
            try:
                function()
            except Exception as raised:
                error = raised
            except BaseException as raised:  # it must not end whoever waits
                error = RuntimeError(f"It raised {raised!r}.")
            with self._lock:
                self._busy = False
                left = self._is_left
            if error is None:
                job.set_result(None)
            else:
                job.set_exception(error)
            if left:
                self._left()
                return
            # What an error refers to must not live until the next job.
            del function, job, error
