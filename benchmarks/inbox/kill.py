"""``python -m benchmarks kill``: SIGKILL at random moments, and every delivery is handled once.

Senders send each delivery until it is answered 2xx. Meanwhile the web process, or the worker, is killed and
started again. In the end each delivery must be done, and its handler's effect, which is committed with it,
must be there exactly once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BenchmarkError
from ..figures import table
from ..options import Options
from ..runner import progress
from .senders import Senders
from .site import Setup, Site, site

SENDERS = 8
DELIVERIES = 20_000
#: Seconds between two kills, at least and at most.
BETWEEN = (0.5, 4.0)
#: How long what was lost may take until it is handled, in seconds.
AFTERWARDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    setup: Setup
    accepted: int
    killed: Counter[str]
    broken: int
    duplicates: int
    done: int
    repeated: int
    effects: Counter[int]
    seconds: float

    @property
    def lost(self) -> int:
        """Deliveries that were answered 2xx and have had no effect."""
        return self.accepted - len(self.effects)

    @property
    def twice(self) -> int:
        """Deliveries that have had their effect more than once."""
        return sum(count > 1 for count in self.effects.values())


def run(options: Options) -> str:
    """:raises BenchmarkError: a delivery was lost, or has had its effect twice."""
    setups = [
        Setup(database=database, worker=worker, sleep=0.005, patience=2.0, broker=broker)
        for database in ("sqlite", "postgresql")
        for worker, broker in (("thread", "redis"), ("celery", "redis"))
    ]
    outcomes = []
    with TemporaryDirectory(prefix="orbro-kill-") as folder:
        for setup in setups:
            outcomes.append(kill(Path(folder), setup, options.count or DELIVERIES))
    report = _table(outcomes)
    if any(outcome.lost or outcome.twice for outcome in outcomes):
        raise BenchmarkError(f"A delivery was lost, or handled twice:\n{report}")
    return report


def kill(folder: Path, setup: Setup, deliveries: int, seed: int | None = None) -> Outcome:
    """One run."""
    chance = random.Random(seed)
    with site(folder, setup) as (here, children):
        here.start_web()
        here.install()
        if setup.worker == "celery":
            here.start_worker(processes=2)
        senders = Senders(here.port, lambda: here.token, count=SENDERS)
        began = time.monotonic()
        senders.start(deliveries)
        killed: Counter[str] = Counter()
        for name in _moments(chance, senders, setup):
            children.kill(name)
            killed[name] += 1
            here.start_web() if name == "web" else here.start_worker(processes=2)
            progress(f"{setup}: killed {name}, {len(senders.accepted):,} of {deliveries:,} are answered 2xx")
        senders.join()
        here.wait_until_handled(AFTERWARDS)
        seconds = time.monotonic() - began
        return _outcome(here, senders, killed, seconds)


def _moments(chance: random.Random, senders: Senders, setup: Setup) -> Iterator[str]:
    """Whom to kill next, at a random moment while there is something to send."""
    while True:
        time.sleep(chance.uniform(*BETWEEN))
        if not senders.are_sending:
            return
        yield chance.choice(["web", "worker"]) if setup.worker == "celery" else "web"


def _outcome(here: Site, senders: Senders, killed: Counter[str], seconds: float) -> Outcome:
    states = here.states()
    return Outcome(
        setup=here.setup,
        accepted=len(senders.accepted),
        killed=killed,
        broken=senders.broken,
        duplicates=states.get("duplicate", 0),
        done=states.get("done", 0),
        repeated=here.repeated(),
        effects=Counter(here.effects()),
        seconds=seconds,
    )


def _table(outcomes: list[Outcome]) -> str:
    head = (
        "database, worker", "answered 2xx", "kills (web / worker)", "no answer, sent again", "duplicates",
        "done", "attempted again", "lost", "effect twice", "seconds",
    )  # fmt: skip
    lines = [
        (
            str(one.setup),
            f"{one.accepted:,}",
            f"{one.killed['web']} / {one.killed['worker']}",
            f"{one.broken:,}",
            f"{one.duplicates:,}",
            f"{one.done:,}",
            f"{one.repeated:,}",
            str(one.lost),
            str(one.twice),
            f"{one.seconds:.0f}",
        )
        for one in outcomes
    ]
    return table(head, lines) + "\n"
