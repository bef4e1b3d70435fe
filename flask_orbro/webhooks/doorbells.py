"""Doorbells: they tell a worker that a delivery waits. One that is lost costs time, and no delivery."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from ..http.forks import ProcessLock
from ..logs import get_logger

logger = get_logger(__name__)

#: Deliveries that wait for the threads of one process; the sweep brings more when there is room.
QUEUED = 1000
#: How long a doorbell that failed is left alone, in seconds.
OUTAGE_MEMORY = 1.0


class Doorbell(Protocol):
    @property
    def has_workers(self) -> bool:
        """Whether anybody ever comes."""

    @property
    def room(self) -> int:
        """How many deliveries it should be rung for now; a few more do no harm."""

    @property
    def room_for_sweep(self) -> int:
        """The same for deliveries that it may have been rung for before."""

    def ring(self, delivery_id: int) -> None:
        """Have somebody handle a delivery; never raises, and waits for nothing."""

    def close(self, seconds: float) -> bool:
        """Finish what was rung for, within so many seconds. :returns: whether all is."""


class InlineDoorbell:
    """Handles at once, where it is rung: for tests.

    :param handle: handles a delivery.
    """

    has_workers = True
    room = room_for_sweep = QUEUED

    def __init__(self, handle: Callable[[int], object]) -> None:
        self._handle = handle

    def ring(self, delivery_id: int) -> None:
        self._handle(delivery_id)

    def close(self, seconds: float) -> bool:
        return True


class ThreadDoorbell:
    """A bounded pool of threads, started when it is first rung in a process.

    :param handle: handles a delivery, or tells somebody else to; it raises where it cannot be done now,
        and is asked again.
    :param threads: 0: nobody handles anything in this process.
    """

    def __init__(self, handle: Callable[[int], object], *, threads: int, drain: float) -> None:
        self._handle = handle
        self._count = threads
        self._drain = drain
        self._lock = ProcessLock()
        self._closing = self._stopped = self._failed = False
        self._start_anew()

    @property
    def has_workers(self) -> bool:
        return self._count > 0

    @property
    def room(self) -> int:
        if not self._count or self._closing or self._failed:
            return 0
        return QUEUED - len(self._queued)

    @property
    def room_for_sweep(self) -> int:
        return self.room

    def ring(self, delivery_id: int) -> None:
        with self._lock:
            if self._pid != os.getpid():  # threads do not survive a fork
                self._start_anew()
            if not self._count or self._closing or delivery_id in self._queued:
                return
            if not self._threads:
                self._start()
            self._queued.add(delivery_id)
            self._queue.put(delivery_id)

    def close(self, seconds: float) -> bool:
        with self._lock:
            if self._closing or self._pid != os.getpid():
                return True
            self._closing = True
            for _ in self._threads:
                self._queue.put(None)
        atexit.unregister(self._at_exit)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        is_through = not any(thread.is_alive() for thread in self._threads)
        self._stopped = True
        return is_through

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._queued: set[int] = set()
        self._threads: list[threading.Thread] = []

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, name=f"orbro-worker-{number}", daemon=True)
            for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        self.close(self._drain)

    def _work(self) -> None:
        while (delivery_id := self._queue.get()) is not None:
            while not self._stopped and not self._try(delivery_id):
                time.sleep(OUTAGE_MEMORY)
            self._queued.discard(delivery_id)

    def _try(self, delivery_id: int) -> bool:
        try:
            self._handle(delivery_id)
        except Exception as error:
            if not self._failed:
                logger.warning("Deliveries are kept, and nobody can be told of them: %s", error)
            self._failed = True
            return False
        self._failed = False
        return True
