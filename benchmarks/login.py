"""``python -m benchmarks login``: what a log-in tells by its time, and what it costs the others.

The example app as it is under gunicorn (one worker, ``gthread``), with hashes as costly as in production.

First, log-ins of an account with a wrong password and of nobody, in random order, one after the other: from
their times nobody must be able to tell which is which. Then a route that does nothing is asked every few
milliseconds while nobody logs in, while one log-in follows the other, and while another process makes the
same hashes on the same core: that is how much a busy core delays, whoever keeps it busy.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import secrets
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from .figures import table
from .options import Options
from .processes import Children, Cores, free_port, gunicorn, on_cores
from .runner import progress

PASSWORD = "a password for the benchmark"
#: Log-ins of each kind.
LOG_INS = 150
PAUSE = 0.005
_BURN = "import bcrypt\nwhile True: bcrypt.hashpw(b'x' * 40, bcrypt.gensalt(12))"
_HEAD = ("p5", "p25", "p50", "p75", "p95", "p99", "slowest")


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def time(self, method: str, path: str, expected: int, **options: Any) -> float:
        """:returns: seconds until the answer was there."""
        began = time.perf_counter()
        self._connection.request(method, path, **options)
        answer = self._connection.getresponse()
        answer.read()
        taken = time.perf_counter() - began
        if answer.status != expected:
            raise RuntimeError(f"{method} {path} answered {answer.status}, not {expected}")
        return taken

    def register(self, user_id: str) -> None:
        body = {"user_id": user_id, "user_email": "ada@example.com", "user_password": PASSWORD}
        headers = {"Content-Type": "application/json"}
        self.time("POST", "/users", 201, body=json.dumps(body), headers=headers)

    def log_in(self, user_id: str, password: str, expected: int) -> float:
        basic = base64.b64encode(f"{user_id}:{password}".encode()).decode()
        return self.time("POST", "/user/auth", expected, headers={"Authorization": f"Basic {basic}"})


def run(options: Options) -> str:
    """:returns: the report, Markdown."""
    plan = options.plan
    cores = Cores()
    with TemporaryDirectory(prefix="orbro-benchmark-") as name, Children(Path(name)) as children:
        port = _start(Path(name), children, cores)
        with on_cores(cores.load):
            Client(port).register("ada")
            kinds = _kinds(port, options.count or LOG_INS)
            others = _others(port, children, cores, plan.seconds, plan.rounds)
    return f"{cores}.\n\n{_log_in_report(kinds)}\n\n{_distributions('another request, ms', others)}\n"


def _start(folder: Path, children: Children, cores: Cores) -> int:
    port = free_port()
    settings = {
        "BENCHMARK_FOLDER": str(folder),
        "FLASK_ORBRO_CLIENT_ID": "benchmark",
        "FLASK_ORBRO_CLIENT_SECRET": secrets.token_urlsafe(32),
        "FLASK_JWT_SECRET_KEY": secrets.token_urlsafe(32),
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/benchmark.sqlite",
        "FLASK_ATTEMPTS_PER_ADDRESS": "1000000 per second",
        "FLASK_ATTEMPTS_PER_ACCOUNT": "1000000 per second",
    }
    command = gunicorn("benchmarks.servers.example:create_app()", port, threads=16)
    children.start("app", command, environment=settings, cores=cores.server)
    children.wait_for(f"http://127.0.0.1:{port}/bare")
    return port


def _kinds(port: int, count: int) -> dict[str, list[float]]:
    """Times of log-ins, by what is wrong with them."""
    client = Client(port)
    wrong = {
        "wrong password": lambda: client.log_in("ada", secrets.token_urlsafe(12), 401),
        "unknown user": lambda: client.log_in(f"nobody{secrets.token_hex(4)}", PASSWORD, 401),
    }
    order = list(wrong) * count
    random.shuffle(order)
    times = defaultdict(list)
    for done, kind in enumerate(order):
        times[kind].append(wrong[kind]())
        if done % 50 == 0:
            progress(f"{done} of {len(order)} log-ins")
    return times


def _others(
    port: int, children: Children, cores: Cores, seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Times of a route that does nothing, by what goes on meanwhile."""

    @contextmanager
    def nothing() -> Iterator[None]:
        yield

    @contextmanager
    def log_ins() -> Iterator[None]:
        stop = threading.Event()

        def log_in() -> None:
            client = Client(port)
            while not stop.is_set():
                client.log_in("ada", PASSWORD, 200)

        thread = threading.Thread(target=log_in)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def another_process() -> Iterator[None]:
        children.start("hashes", [sys.executable, "-c", _BURN], cores=cores.server)
        try:
            time.sleep(0.5)
            yield
        finally:
            children.kill("hashes")

    meanwhile: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "nobody logs in": nothing,
        "one log-in after the other": log_ins,
        "another process makes hashes": another_process,
    }
    times = defaultdict(list)
    client = Client(port)
    for number in range(rounds):
        for name, going_on in meanwhile.items():
            progress(f"round {number + 1}: {name}")
            with going_on():
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    times[name].append(client.time("GET", "/bare", 200))
                    time.sleep(PAUSE)
    return times


def _log_in_report(kinds: dict[str, list[float]]) -> str:
    known, unknown = kinds["wrong password"], kinds["unknown user"]
    longer = sum(one > other for one in known for other in unknown) / (len(known) * len(unknown))
    return (
        f"{_distributions('log-in, ms', kinds)}\n\n"
        f"In {longer:.0%} of all pairs the wrong password takes longer than the unknown user; "
        "50 % tells nothing, 0 % and 100 % tell all."
    )


def _distributions(title: str, times: dict[str, list[float]]) -> str:
    lines = [(name, *_figures(found)) for name, found in times.items()]
    return table((title, *_HEAD), lines)


def _figures(times: Sequence[float]) -> list[str]:
    hundredths = quantiles(times, n=100, method="inclusive")
    chosen = [hundredths[4], hundredths[24], median(times), hundredths[74], hundredths[94], hundredths[98]]
    return [f"{value * 1e3:.1f}" for value in (*chosen, max(times))]
