"""Runs scenarios in rounds and says what happens while it happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from .figures import Book
from .load import Load, Request
from .processes import Children, Cores, cpu_seconds


@dataclass(frozen=True)
class Server:
    """A server under test.

    :param pid: the process whose time, with its descendants', is measured.
    """

    name: str
    pid: int
    port: int


@dataclass(frozen=True)
class Run:
    """One scenario on one server.

    :param scenario: what the tables call it.
    :param latency: of the platform, in seconds, where that can be chosen.
    :param stretch: how many times longer than the plan says. wrk does not count what is under way at
        the end, which of a slow server would be a good part of all.
    """

    server: Server
    scenario: str
    request: Request
    latency: float | None = None
    stretch: int = 1


class Platform(Protocol):
    """What the runner asks of a platform whose latency can be switched and that counts."""

    def set_latency(self, seconds: float) -> None:
        """Answer this much later from now on."""

    def counted(self) -> tuple[int, int]:
        """Requests and connections since the last call."""


@dataclass(frozen=True)
class Plan:
    """How long and how often. Times are in seconds."""

    seconds: float
    warm_up: float
    rounds: int


def run_rounds(
    plan: Plan,
    runs: Sequence[Run],
    *,
    load: Load,
    children: Children,
    platform: Platform | None = None,
    say: Callable[[str], None] | None = None,
) -> Book:
    """Every run once a round, in the given order: put runs to be compared next to each other.

    :raises BenchmarkError: a request is refused, or a process has ended.
    """
    say = say or progress
    book = Book()
    total = plan.rounds * len(runs)
    estimate = plan.rounds * sum(plan.seconds * run.stretch + plan.warm_up for run in runs)
    say(f"{plan.rounds} rounds of {len(runs)} runs, about {estimate // 60:.0f} min {estimate % 60:.0f} s")
    done = 0
    for number in range(1, plan.rounds + 1):
        for run in runs:
            done += 1
            children.check()
            if platform is not None and run.latency is not None:
                platform.set_latency(run.latency)
            load.once(run.server.port, run.request)
            if plan.warm_up > 0:
                load.run(run.server.port, run.request, plan.warm_up)
            if platform is not None:
                platform.counted()
            before = cpu_seconds(run.server.pid)
            sample = load.run(run.server.port, run.request, plan.seconds * run.stretch)
            cpu = (cpu_seconds(run.server.pid) - before) / max(1, sample.answered + sample.failed)
            sample = replace(sample, cpu=cpu)
            if platform is not None:
                requests, connections = platform.counted()
                if requests:
                    sample = replace(sample, connections_per_call=connections / requests)
            book.add(run.server.name, run.scenario, sample)
            say(
                f"[{done}/{total}] round {number}: {run.server.name}, {run.scenario}: "
                f"{sample.rate:,.1f}/s, p50 {sample.p50 * 1e3:.2f} ms, p99 {sample.p99 * 1e3:.2f} ms, "
                f"{sample.cpu * 1e6:,.0f} µs CPU" + (f", {sample.failed} FAILED" if sample.failed else "")
            )
    return book


def progress(line: str) -> None:
    """Say something on standard error at once, so that standard output holds the result alone."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def heading(title: str, plan: Plan, load: Load, cores: Cores, connections: int) -> str:
    """What has to be known to read the figures."""
    return (
        f"{title}, {datetime.now():%Y-%m-%d %H:%M}\n"
        f"Python {sys.version.split()[0]}; {cores}; {connections} connections by {load.name}; "
        f"{plan.seconds:g} s a run after {plan.warm_up:g} s of warm-up; medians of {plan.rounds} rounds"
    )
