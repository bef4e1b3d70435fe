"""``python -m benchmarks outage``: what callers get, and how fast, while the platform is in trouble.

The example app has 8 threads; 12 callers, each with a token that nobody has judged yet in each request,
press on an authenticated route, while 4 others call a route that needs nobody. The platform is healthy,
then limits, fails, answers HTML, hangs, is killed, and in the end its connections are dropped, neither
taken nor refused.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from .errors import BenchmarkError
from .figures import table
from .options import Options
from .processes import Children, Cores
from .quick import ORGANIZATION, start_example
from .runner import progress

THREADS, CALLERS, PINGERS = 8, 12, 4
#: Length of each phase, in seconds; longer than a verdict may take.
PHASE = 12.0
PAUSE = 0.02
KILLED, DROPPED = "killed", "drops connections"
TROUBLES: dict[str, dict[str, object]] = {
    "healthy": {},
    "answers 429": {"status": 429, "headers": {"Retry-After": "3"}},
    "answers 500": {"status": 500, "body": {"error_code": "BROKEN"}},
    "answers HTML": {"status": 200, "body": "<html>Login</html>", "content_type": "text/html"},
    "hangs": {"delay": 60},
    KILLED: {},
    DROPPED: {},
}


@dataclass
class Answers:
    """Statuses and times (seconds) of one group's requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: int, seconds: float) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.times.append(seconds)

    def quantile(self, share: float) -> str:
        ordered = sorted(self.times)
        return f"{ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000:,.0f}"

    def __str__(self) -> str:
        return ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))


def _press(port: int, until: float, request: Callable[[], tuple[str, dict[str, str]]], into: Answers) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < until:
        path, headers = request()
        began = time.monotonic()
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            into.add(response.status, time.monotonic() - began)
        except (OSError, http.client.HTTPException):
            connection.close()
            into.add(0, time.monotonic() - began)
        time.sleep(PAUSE)
    connection.close()


def _phase(port: int, path: str, tokens: Iterator[str]) -> tuple[Answers, Answers]:
    callers, pingers = Answers(), Answers()
    until = time.monotonic() + PHASE

    def call() -> tuple[str, dict[str, str]]:
        return path, {"Authorization": f"Bearer {next(tokens)}"}

    def ping() -> tuple[str, dict[str, str]]:
        return "/bare", {}

    threads = [
        *(threading.Thread(target=_press, args=(port, until, call, callers)) for _ in range(CALLERS)),
        *(threading.Thread(target=_press, args=(port, until, ping, pingers)) for _ in range(PINGERS)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return callers, pingers


def _send(method: str, url: str, **fields: object) -> dict[str, object]:
    request = Request(url, json.dumps(fields).encode(), {"Content-Type": "application/json"}, method=method)
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        body = answer.read()
        document: dict[str, object] = json.loads(body) if body else {}
    return document


@contextmanager
def _black_hole(port: int) -> Iterator[None]:
    """Have connections to a port dropped: Linux does so where a server's queue is full.

    :raises BenchmarkError: this system does not.
    """
    with ExitStack() as stack:
        stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=0))
        for _ in range(16):
            try:
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.2))
            except TimeoutError:
                yield
                return
        raise BenchmarkError("This system does not drop connections when a queue is full.")


def run(_: Options) -> str:
    """:returns: the report, Markdown."""
    cores = Cores()
    with (
        TemporaryDirectory(prefix="orbro-outage-") as name,
        Children(Path(name)) as children,
        ExitStack() as silence,
    ):
        server, simulator = start_example(Path(name), children, cores, THREADS)
        made = _send("POST", f"{simulator}/simulator/tokens", kind="user", organization=ORGANIZATION)
        path = f"/platform/me?origin={quote(str(made['origin']), safe='')}"
        rows = []
        for trouble, fault in TROUBLES.items():
            progress(f"platform {trouble}, {PHASE:.0f} s")
            if trouble == KILLED:
                children.kill("simulator")
            elif trouble == DROPPED:
                silence.enter_context(_black_hole(urlsplit(simulator).port or 0))
            elif fault:
                _send("PUT", f"{simulator}/simulator/faults", prefix="/api/v1/auth", **fault)
            healthy = trouble == "healthy"
            # In trouble each request's token is new to the app; the faults do not look at tokens.
            tokens = (
                itertools.repeat(str(made["token"])) if healthy else map("token-{}".format, itertools.count())
            )
            callers, pingers = _phase(server.port, path, tokens)
            rows.append(
                (
                    trouble,
                    str(callers),
                    *(callers.quantile(share) for share in (0.5, 0.99, 1)),
                    str(pingers),
                    *(pingers.quantile(share) for share in (0.5, 0.99)),
                )
            )
        head = ("platform", "callers got", "p50", "p99", "slowest", "other route", "p50", "p99")
        setting = f"{THREADS} threads, {CALLERS} callers, {PINGERS} on another route; times in ms"
        return f"{setting}\n\n{table(head, rows)}"
