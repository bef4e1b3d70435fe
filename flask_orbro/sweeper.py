"""A thread that asks the platform again about what waits, and that lives only while something waits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from .http.forks import ProcessLock
from .logs import get_logger

logger = get_logger(__name__)

#: The shortest and the longest nap between two sweeps, in seconds.
NAPS = (0.25, 60.0)


def one_after_another(*sweeps: Callable[[], float | None]) -> Callable[[], float | None]:
    """One sweep of several."""

    def sweep() -> float | None:
        due = [at for at in [one() for one in sweeps] if at is not None]
        return min(due, default=None)

    return sweep


class Sweeper:
    """:param sweep: asks about what is due and returns when the next question is due, or ``None``.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self, sweep: Callable[[], float | None], clock: Callable[[], float], *, enabled: bool
    ) -> None:
        self._sweep = sweep
        self._clock = clock
        self._enabled = enabled
        self._lock = ProcessLock()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._stopped = False
        self._looked_pid = 0
        self._look_again = 0.0

    def start_once(self) -> None:
        """Look for what another process left waiting, once a minute; cheap in between.

        One that ended may have left it, after the thread of this one had ended too.
        """
        now = time.monotonic()
        if self._looked_pid != os.getpid() or now >= self._look_again:
            self._looked_pid, self._look_again = os.getpid(), now + NAPS[1]
            self.wake()

    def wake(self) -> None:
        """Something waits: sweep when it is due."""
        if not self._enabled or self._stopped:
            return
        with self._lock:
            if self._pid != os.getpid():  # threads do not survive a fork
                self._thread, self._pid = None, os.getpid()
            self._awake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="orbro-sweeper", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; it does not start again."""
        self._stopped = True
        self._awake.set()
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            thread.join(timeout=10)

    def _run(self) -> None:
        due: float | None = self._clock()
        while True:
            if due is not None:
                nap = min(max(due - self._clock(), NAPS[0]), NAPS[1])
                self._awake.wait(nap)
            if self._stopped:
                return
            with self._lock:
                if due is None and not self._awake.is_set():
                    self._thread = None
                    return
                self._awake.clear()
            try:
                due = self._sweep()
            except Exception:
                logger.exception("Sweeping failed; it is tried again.")
                due = self._clock() + NAPS[1]
