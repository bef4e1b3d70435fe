"""Child processes that never outlive the demo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import httpx2

#: How long a child may take to answer its first request, and to end (seconds).
STARTING, ENDING = 15.0, 5.0
_LINES = 15


class DemoError(Exception):
    """The demo cannot go on; the message is for the person at the terminal."""


class Stopped(BaseException):
    """Somebody asked for the end: Ctrl-C, or a signal that says the same."""


class Child:
    """A process in a group of its own.

    :param name: for messages.
    :param log: where its output goes.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environ: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            # A group of its own: Ctrl-C reaches the demo alone, which then ends the group as a whole.
            self._process = subprocess.Popen(  # noqa: S603
                command,
                env=dict(environ),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_healthy(self, url: str) -> None:
        """:raises DemoError: it ended, or does not answer 200 in time; with its last output."""
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline:
            self.check()
            with suppress(httpx2.HTTPError):
                if httpx2.get(url, timeout=2, trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)
        raise DemoError(f"{self.name} does not answer at {url}.{self._last_output()}")

    def check(self) -> None:
        """:raises DemoError: it ended; with its last output."""
        if self._process.poll() is not None:
            raise DemoError(f"{self.name} ended by itself.{self._last_output()}")

    def end(self) -> None:
        """Ask the group to end, then make it."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # The group may be gone; a zombie's group is not ours to signal on some systems.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _last_output(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-_LINES:]
        return "".join(f"\n  | {line}" for line in ["Its last output:", *lines]) if lines else ""


class Children(ExitStack):
    """Ends all it started, the last one first, whatever happens meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._busy = False
        self._asked = False

    def start(self, name: str, command: Sequence[str], **options: object) -> Child:
        # A signal between the start and the note of it would leave an orphan: it waits until then.
        self._busy = True
        child = Child(name, command, **options)  # type: ignore[arg-type]
        self.callback(child.end)
        self._busy = False
        if self._asked:
            raise Stopped
        return child

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """A signal handler; only the first signal raises, so that none cuts the ending short."""
        if self._asked:
            return
        self._asked = True
        if not self._busy:
            raise Stopped


@contextmanager
def children() -> Iterator[Children]:
    """:raises Stopped: on SIGINT, SIGTERM and SIGHUP, within the block."""
    started = Children()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, started.stop) for number in numbers}
    try:
        yield started
    finally:
        try:
            for number in numbers:
                signal.signal(number, signal.SIG_IGN)
        finally:
            started.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def free_ports(*wanted: int) -> list[int]:
    """:param wanted: a port each, or 0 for any that is free.

    :raises DemoError: one is taken.
    """
    with ExitStack() as stack:
        return [_bind(stack, port) for port in wanted]


def _bind(stack: ExitStack, port: int) -> int:
    listener = stack.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        raise DemoError(f"Port {port} of 127.0.0.1 cannot be used: {error.strerror}.") from None
    # Without this the same free port could be given twice.
    listener.listen()
    return int(listener.getsockname()[1])
