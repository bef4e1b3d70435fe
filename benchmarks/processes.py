"""Child processes: started on a core of their own, measured by the kernel, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from .errors import BenchmarkError

ROOT = Path(__file__).resolve().parent.parent
#: How long a server may take until it answers, and a child until it has ended, in seconds.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
# A proxy of the environment has no business between two processes of this machine.
_opener = build_opener(ProxyHandler({}))


class Cores:
    """Which core the server under test has, and which the load and the platform share.

    With fewer than two cores, or a system that does not let us choose, nobody is pinned.
    """

    def __init__(self) -> None:
        available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.pinned = len(available) >= 2
        self.server: set[int] | None = {available[0]} if self.pinned else None
        self.load: set[int] | None = {available[1]} if self.pinned else None

    def __str__(self) -> str:
        if not self.pinned:
            return "not pinned: fewer than two cores"
        return f"server on core {self.server}, load and platform on core {self.load}"


class Children:
    """Starts processes and ends all of them, whatever happens; a context manager.

    :param folder: where their output goes, one file each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[tuple[str, subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cores: set[int] | None = None,
    ) -> int:
        """Start a process in a group of its own.

        :param environment: added to a clean one, see :func:`clean_environment`.
        :param cores: where it may run.
        :returns: its id.
        """
        log = self._folder / f"{name}.log"
        with log.open("wb") as output, on_cores(cores):
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=clean_environment() | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((name, process, log))
        return process.pid

    def wait_for(self, url: str) -> None:
        """Wait until a URL answers, with whatever status.

        :raises BenchmarkError: a child ended first, or there is no answer in time.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            self.check()
            try:
                _opener.open(url, timeout=2).close()
                return
            except HTTPError as error:
                error.close()
                return
            except (URLError, OSError):
                time.sleep(0.05)
        raise BenchmarkError(f"{url} did not answer within {START_TIMEOUT:.0f} s.\n{self._logs()}")

    def wait_for_port(self, port: int) -> None:
        """Wait until somebody listens on a port of the loopback address; errors as :meth:`wait_for`."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            self.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise BenchmarkError(f"Nobody listens on port {port} after {START_TIMEOUT:.0f} s.\n{self._logs()}")

    def check(self) -> None:
        """:raises BenchmarkError: a child has ended."""
        for name, process, log in self._running:
            if process.poll() is not None:
                raise BenchmarkError(f"{name} ended with status {process.returncode}:\n{_tail(log)}")

    def kill(self, name: str) -> None:
        """End one process group at once, as a crash would."""
        for child in [child for child in self._running if child[0] == name]:
            self._running.remove(child)
            _signal_group(child[1].pid, signal.SIGKILL)
            child[1].wait()

    def stop(self) -> None:
        """End every process group: ask first, then force."""
        running, self._running = self._running[::-1], []
        for _, process, _ in running:
            _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        for _, process, _ in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # Workers may outlive their parent.
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()

    def _logs(self) -> str:
        return "\n".join(f"{name}: {_tail(log)}" for name, _, log in self._running)


@contextlib.contextmanager
def on_cores(cores: set[int] | None) -> Iterator[None]:
    """Run what is inside, and the processes started there, on these cores."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would configure an app, a proxy or a server."""
    foreign = ("FLASK_", "ORBRO_", "BENCHMARK_", "GUNICORN_", "WEB_CONCURRENCY", "SSL_CERT_", "LD_PRELOAD")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign)
        and name not in ("ENV", "SERVICE_ENV")
        and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def gunicorn(factory: str, port: int, *, threads: int) -> list[str]:
    """The command of one worker with threads, as the README of the library recommends it."""
    return [
        *(sys.executable, "-m", "gunicorn", factory, "--bind", f"127.0.0.1:{port}"),
        *("--workers", "1", "--worker-class", "gthread", "--threads", str(threads)),
        *("--keep-alive", "30", "--graceful-timeout", "1", "--log-level", "warning"),
    ]


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all its descendants, dead ones included."""
    times: dict[int, tuple[int, int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                # The name is in brackets and may hold spaces; fields are counted after it.
                fields = stat.rpartition(")")[2].split()
                times[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])))
    total, waiting = 0, [pid]
    while waiting:
        parent = waiting.pop()
        total += times.get(parent, (0, 0))[1]
        waiting += [child for child, (its_parent, _) in times.items() if its_parent == parent]
    return total / _TICKS


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(no output)"
