"""``python -m benchmarks webhooks``: how fast deliveries are answered and handled, and what that costs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..figures import table
from ..options import Options
from ..processes import Cores, cpu_seconds
from ..runner import progress
from . import growth
from .senders import Senders
from .site import Setup, site

SENDERS = 16
#: The slowest that 99 of 100 answers may be while handlers take a second each, in seconds.
TARGET = 0.1
WORKERS = (1, 2, 4)
AFTERWARDS = 900.0


@dataclass(frozen=True)
class Rate:
    """One run.

    :param accepted: deliveries answered 2xx per second.
    :param handled: deliveries handled per second, from the first sent to the last handled.
    :param statements: per delivery, of the web process; ``commits`` likewise.
    :param cpu: of the web process per delivery, in seconds.
    """

    setup: Setup
    deliveries: int
    accepted: float
    handled: float
    p50: float
    p99: float
    statements: float
    commits: float
    cpu: float


def run(options: Options) -> str:
    """Acknowledgements, rates, the curve of Celery workers, and a growing inbox."""
    seconds, parts = options.plan.seconds, []
    with TemporaryDirectory(prefix="orbro-rates-") as name:
        folder = Path(name)
        rates = [
            rate(folder, Setup("postgresql", sleep=1.0), seconds, handle_all=False),
            *(rate(folder, Setup(database), seconds) for database in ("sqlite", "postgresql")),
        ]
        parts.append(
            f"{SENDERS} senders, one gunicorn worker with 16 threads, 8 handler threads\n\n{_table(rates)}"
        )
        for sleep in (0.0, 0.02):
            curve = {count: workers(folder, count, sleep) for count in WORKERS}
            parts.append(_curve(curve, sleep))
        parts.append(growth.run(folder))
    return "\n".join(parts)


def rate(folder: Path, setup: Setup, seconds: float, *, handle_all: bool = True) -> Rate:
    """Send for a while; with ``handle_all``, wait until all is handled."""
    cores = Cores()
    with site(folder, setup, cores.server) as (here, children):
        pid = here.start_web()
        here.install()
        counted, cpu = here.counted(), cpu_seconds(pid)
        senders = Senders(here.port, lambda: here.token, count=SENDERS)
        began = time.monotonic()
        senders.start()
        time.sleep(seconds)
        senders.stop()
        sent = time.monotonic() - began
        handled = 0.0
        if handle_all:
            here.wait_until_handled(AFTERWARDS)
            handled = len(senders.accepted) / (time.monotonic() - began)
        after, deliveries = here.counted(), len(senders.accepted)
        made = Rate(
            setup=setup,
            deliveries=deliveries,
            accepted=deliveries / sent,
            handled=handled,
            p50=senders.quantile(0.5),
            p99=senders.quantile(0.99),
            statements=(after["statements"] - counted["statements"]) / deliveries,
            commits=(after["commits"] - counted["commits"]) / deliveries,
            cpu=(cpu_seconds(pid) - cpu) / deliveries,
        )
        progress(
            f"{setup}, handlers of {setup.sleep:g} s: {made.accepted:.0f}/s, p99 {made.p99 * 1000:.0f} ms"
        )
        if not handle_all:
            children.kill("web")  # its handlers would sleep for minutes yet
        return made


def workers(folder: Path, count: int, sleep: float) -> float:
    """Deliveries per second that so many Celery worker processes handle."""
    setup = Setup("postgresql", "celery", sleep=sleep, threads=16)
    deliveries = 3000
    with site(folder, setup) as (here, _):
        here.start_web()
        here.install()
        senders = Senders(here.port, lambda: here.token, count=SENDERS)
        senders.start(deliveries)
        senders.join()
        time.sleep(2)  # the last ids are published
        here.start_worker(processes=count)
        while not here.states().get("done"):
            time.sleep(0.05)
        before, began = here.states()["done"], time.monotonic()
        here.wait_until_handled(AFTERWARDS)
        made = (deliveries - before) / (time.monotonic() - began)
        progress(f"{count} Celery worker processes, handlers of {sleep:g} s: {made:.0f}/s")
        return made


def _table(rates: list[Rate]) -> str:
    head = (
        "database", "handler takes, s", "answered/s", "p50 ms", "p99 ms", "handled/s", "statements/delivery",
        "commits/delivery", "CPU ms/delivery",
    )  # fmt: skip
    lines = [
        (
            one.setup.database,
            f"{one.setup.sleep:g}",
            f"{one.accepted:.0f}",
            f"{one.p50 * 1000:.1f}",
            f"{one.p99 * 1000:.1f}" + (" (target 100)" if one.setup.sleep else ""),
            f"{one.handled:.0f}" if one.handled else "-",
            f"{one.statements:.2f}",
            f"{one.commits:.2f}",
            f"{one.cpu * 1000:.2f}",
        )
        for one in rates
    ]
    return table(head, lines) + "\n"


def _curve(curve: dict[int, float], sleep: float) -> str:
    lines = [(str(count), f"{made:.0f}", f"{made / curve[1]:.2f}") for count, made in curve.items()]
    head = ("Celery worker processes", "handled/s", "times one")
    return f"PostgreSQL, Redis, handlers of {sleep:g} s\n\n{table(head, lines)}\n"
