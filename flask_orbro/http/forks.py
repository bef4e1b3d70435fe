"""What threads of the parent were about to do, nobody does in a forked child."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet


class StartsAnew(Protocol):
    def start_anew(self) -> None:
        """Forget what is under way, with the locks that somebody may hold."""


_known: WeakSet[StartsAnew] = WeakSet()


def anew_after_fork(thing: StartsAnew) -> None:
    """Have a thing start anew now, and in each child that is forked while there is one."""
    thing.start_anew()
    _known.add(thing)


class ProcessLock:
    """A lock of the threads of one process: in a forked child nobody holds it."""

    def __init__(self) -> None:
        anew_after_fork(self)

    def start_anew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # who held it has forked, and this is the child
            self._lock.release()


def _start_anew() -> None:
    for thing in list(_known):
        thing.start_anew()


if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_start_anew)
