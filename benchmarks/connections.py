"""``python -m benchmarks connections``: what a warm OAuth connection costs beside other clients."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import ProxyHandler, build_opener

import httpx2

from .errors import BenchmarkError
from .figures import Book, main_table, table
from .load import GRACE, Sample
from .options import Options
from .peer_environment import make_environment
from .processes import ROOT, Children, Cores, clean_environment, free_port, on_cores
from .runner import progress

#: What only this benchmark needs, in a virtual environment of its own; the HTTP library is ours.
REQUIREMENTS = ("Authlib==1.9.*", f"httpx2=={httpx2.__version__}", "uvicorn[standard]")
SYNC, ASYNC = "threads", "event loop"
BARE, OURS, AUTHLIB = "bare httpx2", "flask-orbro", "Authlib"
#: Those that are compared are next to each other.
RUNS = {
    (BARE, SYNC): "bare",
    (OURS, SYNC): "connection",
    (AUTHLIB, SYNC): "authlib",
    (BARE, ASYNC): "async_bare",
    (OURS, ASYNC): "async_connection",
}


def run(options: Options) -> str:
    """Measure, and end all that was started.

    :returns: the report.
    :raises BenchmarkError: it cannot be measured.
    """
    cores = Cores()
    with TemporaryDirectory(prefix="orbro-benchmark-") as name, Children(Path(name)) as children:
        folder = (options.venv or Path(name) / "authlib").absolute()
        python = make_environment(folder, progress, REQUIREMENTS)
        port = free_port()
        command = [str(python), "-m", "uvicorn", "benchmarks.servers.backend:app", "--port", str(port)]
        children.start("backend", [*command, "--log-level", "warning"], cores=cores.load)
        children.wait_for_port(port)
        book, tokens = _measure(options, python, f"http://127.0.0.1:{port}", cores)
    return _report(options, cores, book, tokens)


def _measure(
    options: Options, python: Path, url: str, cores: Cores
) -> tuple[Book, dict[tuple[str, str], set[int]]]:
    plan, book = options.plan, Book()
    tokens: dict[tuple[str, str], set[int]] = {name: set() for name in RUNS}
    for number in range(1, plan.rounds + 1):
        for (who, how), caller in RUNS.items():
            before = _tokens(url)
            interpreter = str(python) if who == AUTHLIB else sys.executable
            argv = [interpreter, "-m", "benchmarks.callers", caller, url, str(options.connections)]
            sample = _call([*argv, str(plan.warm_up), str(plan.seconds)], plan.warm_up + plan.seconds, cores)
            book.add(who, how, sample)
            tokens[who, how].add(_tokens(url) - before)
            progress(f"round {number}: {who}, {how}: {sample.rate:,.0f}/s, {sample.cpu * 1e6:,.0f} µs CPU")
    return book, tokens


def _call(argv: list[str], seconds: float, cores: Cores) -> Sample:
    with on_cores(cores.server):
        try:
            done = subprocess.run(
                argv,
                cwd=ROOT,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=seconds + GRACE,
            )
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"The caller {argv[3]} did not end in time.") from None
    if done.returncode != 0:
        raise BenchmarkError(f"The caller {argv[3]} failed: {done.stderr.strip()[-1500:]}")
    return Sample(**json.loads(done.stdout))


def _tokens(url: str) -> int:
    with build_opener(ProxyHandler({})).open(f"{url}/tokens", timeout=10) as answer:
        return int(answer.read())


def _report(options: Options, cores: Cores, book: Book, tokens: dict[tuple[str, str], set[int]]) -> str:
    plan = options.plan
    pinned = str(cores).replace("server", "callers").replace("load and platform", "back end")
    ratios = [
        (
            f"{one}, {how}",
            _times(book.rate_ratio((one, how), (BARE, how))),
            _times(book.cpu_ratio((one, how), (BARE, how))),
            ", ".join(map(str, sorted(tokens[one, how]))),
        )
        for one, how in RUNS
        if one != BARE
    ]
    head = ("caller", "times the bare client's rate", "times its CPU", "tokens asked for in a run")
    return (
        f"Warm OAuth calls by {options.connections} callers at once, {datetime.now():%Y-%m-%d %H:%M}\n"
        f"Python {sys.version.split()[0]}, httpx2 {httpx2.__version__}; {pinned}; {plan.seconds:g} s a run "
        f"after {plan.warm_up:g} s of warm-up; medians of {plan.rounds} rounds\n\n"
        f"{main_table(book)}\n\n"
        f"{table(head, ratios)}\n"
    )


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
