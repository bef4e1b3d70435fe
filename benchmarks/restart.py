"""``python -m benchmarks restart``: what becomes of calls while the platform is killed and started again."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask

from flask_orbro import OrbroConnect, PlatformError
from flask_orbro.simulator import Platform
from flask_orbro.state import get_state

from .errors import BenchmarkError
from .figures import table
from .options import Options
from .processes import Children, Cores, free_port
from .runner import progress

CALLS, CALLERS = 10_000, 32
#: Calls by each caller before anything is measured: connections, code and caches are warm then.
WARM = 10
#: How long the platform is gone, in seconds.
GONE = 4.0
#: ``ORBRO_CALL_BUDGET`` of the app, in seconds.
BUDGET = 5.0
WAYS = ("threads", "event loop")
SUBDOMAIN, PATH = "acme", "/api/v1/users"
DESCRIPTOR = {
    "id": "com.example.benchmark",
    "name": "Benchmark",
    "baseUrl": "http://127.0.0.1",
    "lifecycle": {name: f"/{name}" for name in ("installed", "uninstalled")},
}


@dataclass
class Outcome:
    """What came of the calls. Times are in seconds, memory is in bytes."""

    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    #: Errors that are neither an answer nor one of the documented ones.
    untyped: Counter[str] = field(default_factory=Counter)
    files: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        return self.answers.total() + self.untyped.total()

    def add(self, began: float, said: str | Exception) -> None:
        with self.lock:
            self.slowest = max(self.slowest, time.monotonic() - began)
            if isinstance(said, str):
                self.answers[said] += 1
            else:
                kinds = self.answers if isinstance(said, PlatformError) else self.untyped
                kinds[type(said).__name__] += 1

    def look(self) -> None:
        """Note how many files this process has open, and its memory."""
        self.files.append(len(list(Path("/proc/self/fd").iterdir())))
        self.memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)


class Site:
    """A platform in a process of its own, and an app that calls it from this one."""

    def __init__(self, folder: Path, children: Children, budget: float) -> None:
        self._children, self._port = children, free_port()
        secret = secrets.token_urlsafe(32)
        self._environment = {
            "BENCHMARK_SUBDOMAIN": SUBDOMAIN,
            "BENCHMARK_SHARED_SECRET": secret,
            "BENCHMARK_PLATFORM_PORT": str(self._port),
        }
        self.start_platform()
        (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
        self.app = Flask("restart", root_path=str(folder), instance_path=str(folder))
        self.app.config.update(
            ORBRO_CLIENT_ID="benchmark",
            ORBRO_CLIENT_SECRET=secrets.token_urlsafe(32),
            ORBRO_PLATFORM_HOST=f"orbro.localhost:{self._port}",
            ORBRO_PLATFORM_SCHEME="http",
            ORBRO_CALL_BUDGET=budget,
            ORBRO_SWEEPER=False,
        )
        self.orbro = OrbroConnect(self.app)
        self.organization_id = Platform().organization(SUBDOMAIN).id
        body = {"organization_id": self.organization_id, "subdomain": SUBDOMAIN, "shared_secret": secret}
        self.app.test_client().post("/installed", json=body)

    def start_platform(self) -> None:
        argv = [sys.executable, "-m", "benchmarks.servers.steady_simulator"]
        self._children.start("platform", argv, environment=self._environment, cores=Cores().load)
        self._children.wait_for_port(self._port)

    def restart_platform(self, gone: float) -> None:
        """As a crash would, and a supervisor after it."""
        self._children.kill("platform")
        time.sleep(gone)
        self.start_platform()


def run(_options: Options) -> str:
    """Measure, and end all that was started.

    :returns: the report.
    """
    lines = []
    # Twice: the first outage of a process loads and allocates what the next ones find.
    for way, label in [(way, way + more) for way in WAYS for more in ("", ", again")]:
        progress(f"{CALLS} calls by {CALLERS} callers, {label}; the platform is killed in the middle")
        outcome = measure(way, calls=CALLS, callers=CALLERS, gone=GONE, budget=BUDGET)
        lines.append((label, *_shown(outcome)))
    head = (
        *("callers", "answers and typed errors", "untyped errors", "slowest ms", "budget ms"),
        *("files before", "most", "after", "MB before", "most", "after"),
    )
    title = f"{CALLS:,} GETs by {CALLERS} callers; the platform is killed (SIGKILL) and gone for {GONE:g} s"
    return f"{title}\n\n{table(head, lines)}\n"


def measure(way: str, *, calls: int, callers: int, gone: float, budget: float) -> Outcome:
    """Call, kill the platform in the middle, and start it again.

    :param way: one of :data:`WAYS`.
    """
    with _site(budget) as site, _quiet():
        trial = _Trial(site, calls, gone)
        if way == "threads":
            _call_in_threads(site, trial, callers)
        else:
            asyncio.run(_call_in_a_loop(site, trial, callers))
        if trial.outcome.done != calls:
            raise BenchmarkError(f"Of {calls} calls {trial.outcome.done} ended.")
        return trial.outcome


class _Trial:
    """The calls of one measurement, and what is looked at and done meanwhile; a context manager."""

    def __init__(self, site: Site, calls: int, gone: float) -> None:
        self._site, self._calls, self._gone = site, calls, gone
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._kill, self._watch)]
        self.outcome = Outcome()
        #: One for each call; taken by whoever makes it.
        self.numbers = iter(range(calls))

    def __enter__(self) -> Outcome:
        self.outcome.look()
        for thread in self._threads:
            thread.start()
        return self.outcome

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.outcome.look()

    def _kill(self) -> None:
        while self.outcome.done < self._calls // 2 and not self._ended.wait(0.01):
            pass
        self._site.restart_platform(self._gone)

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.outcome.look()


@contextmanager
def _site(budget: float) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="orbro-restart-")))
        children = stack.enter_context(Children(folder))
        site = Site(folder, children, budget)
        stack.callback(get_state(site.app).close)
        yield site


@contextmanager
def _quiet() -> Iterator[None]:
    """Each call that fails is logged, and here that is some hundreds."""
    logger = logging.getLogger("flask_orbro")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _call_in_threads(site: Site, trial: _Trial, callers: int) -> None:
    client = site.orbro.client_for(site.organization_id, app=site.app)

    def call(numbers: Iterable[int], outcome: Outcome) -> None:
        for _ in numbers:
            began = time.monotonic()
            try:
                outcome.add(began, str(client.get(PATH).status_code))
            except Exception as error:
                outcome.add(began, error)

    def call_at_once(numbers: Iterable[int], outcome: Outcome) -> None:
        threads = [threading.Thread(target=call, args=(numbers, outcome)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    call_at_once(iter(range(callers * WARM)), Outcome())
    with trial as outcome:
        call_at_once(trial.numbers, outcome)


async def _call_in_a_loop(site: Site, trial: _Trial, callers: int) -> None:
    client = site.orbro.async_client_for(site.organization_id, app=site.app)

    async def call(numbers: Iterable[int], outcome: Outcome) -> None:
        for _ in numbers:
            began = time.monotonic()
            try:
                outcome.add(began, str((await client.get(PATH)).status_code))
            except Exception as error:
                outcome.add(began, error)

    async def call_at_once(numbers: Iterable[int], outcome: Outcome) -> None:
        await asyncio.gather(*(call(numbers, outcome) for _ in range(callers)))

    await call_at_once(iter(range(callers * WARM)), Outcome())
    with trial as outcome:
        await call_at_once(trial.numbers, outcome)


def _shown(outcome: Outcome) -> tuple[str, ...]:
    answers = ", ".join(f"{count:,} x {what}" for what, count in sorted(outcome.answers.items()))
    untyped = ", ".join(f"{count:,} x {what}" for what, count in sorted(outcome.untyped.items())) or "0"
    files, memory = outcome.files, [f"{size / 1e6:.1f}" for size in outcome.memory]
    return (
        *(answers, untyped, f"{outcome.slowest * 1e3:,.0f}", f"{BUDGET * 1e3:,.0f}"),
        *(str(files[0]), str(max(files)), str(files[-1])),
        *(memory[0], f"{max(outcome.memory) / 1e6:.1f}", memory[-1]),
    )
