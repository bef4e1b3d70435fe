"""``python -m benchmarks broker``: the broker is gone for a minute, and nobody is to notice but the log.

Senders deliver at a steady pace; after a while the way to the broker is cut, or taken and held, or goes
silent, and a minute later it is there again. Every delivery must be handled, and no answer may be slower
because of it. The senders end before: what was kept is handled with no other delivery to remind of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BenchmarkError
from ..figures import table
from ..options import Options
from ..processes import Cores
from ..runner import progress
from .senders import Senders
from .site import PORTS, Setup, site
from .tcp_proxy import TcpProxy

SENDERS = 8
#: Seconds between two deliveries of one sender.
EVERY = 0.1
#: How long the broker is there, and how long it is gone, in seconds.
BEFORE, GONE = 15.0, 60.0
#: The slowest that 99 of 100 answers may be because of it, in seconds.
TARGET = 0.25
AFTERWARDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """One run. Times are in seconds."""

    setup: Setup
    trouble: str
    accepted: int
    broken: int
    effects: int
    p99: tuple[float, float]
    slowest: float
    handled_after: float


def run(options: Options) -> str:
    """:raises BenchmarkError: a delivery was lost, or an answer was slow."""
    outcomes = []
    with TemporaryDirectory(prefix="orbro-broker-") as folder:
        for broker in ("redis", "rabbitmq"):
            for trouble in ("cut", "hang", "silence"):
                if options.only in f"{broker}, {trouble}":
                    outcomes.append(outage(Path(folder), broker, trouble, GONE))
    report = _table(outcomes)
    if any(one.effects != one.accepted or one.broken or one.p99[1] > TARGET for one in outcomes):
        raise BenchmarkError(f"A delivery was lost, or slow:\n{report}")
    return report


def outage(folder: Path, broker: str, trouble: str, gone: float, before: float = BEFORE) -> Outcome:
    """:param trouble: ``cut``, ``hang`` or ``silence``."""
    cores = Cores()
    with TcpProxy(PORTS[broker]) as proxy:
        setup = Setup("postgresql", "celery", broker=broker, broker_port=proxy.port, patience=15.0)
        with site(folder, setup, cores.server) as (here, _):
            here.start_web()
            here.install()
            here.start_worker(cores=cores.load)
            senders = Senders(here.port, lambda: here.token, count=SENDERS)
            senders.start(every=EVERY)
            moments = [time.monotonic()]
            steps: list[tuple[float, Callable[[], None]]] = [
                (before, getattr(proxy, trouble)), (gone, senders.stop), (0, proxy.mend)
            ]  # fmt: skip
            for seconds, step in steps:
                time.sleep(seconds)
                step()
                moments.append(time.monotonic())
                progress(f"{broker}, {trouble}: {len(senders.accepted):,} answered 2xx, {here.states()}")
            handled_after = here.wait_until_handled(AFTERWARDS)
            before_, during = (senders.quantile(0.99, *phase) for phase in pairwise(moments[:3]))
            return Outcome(
                setup, trouble, len(senders.accepted), senders.broken, len(here.effects()),
                (before_, during), senders.quantile(1, moments[1], moments[2]), handled_after,
            )  # fmt: skip


def _table(outcomes: list[Outcome]) -> str:
    head = (
        "broker", "for a minute", "answered 2xx", "not answered 2xx", "effects", "p99 before, ms",
        "meanwhile, ms", "slowest meanwhile, ms", "all handled after, s",
    )  # fmt: skip
    lines = [
        (
            one.setup.broker,
            one.trouble,
            f"{one.accepted:,}",
            str(one.broken),
            f"{one.effects:,}",
            *(f"{seconds * 1000:.0f}" for seconds in (*one.p99, one.slowest)),
            f"{one.handled_after:.0f}",
        )
        for one in outcomes
    ]
    return table(head, lines) + "\n"
