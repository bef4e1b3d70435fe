"""``python -m benchmarks [WHAT]``: measures one thing, and ends all that it started."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from .errors import BenchmarkError
from .options import Options
from .runner import Plan

#: What can be measured: the module, and what it shows.
BENCHMARKS = {
    "quick": ("quick", "the example app alone"),
    "peer": ("compare", "beside the platform's own SDK and a hand-written app"),
    "inline": ("inline", "@webhook_required beside the SDK and slack-bolt"),
    "outage": ("outage", "what callers get while the platform is in trouble"),
    "fuzz": ("fuzz", "strange requests: none answered 5xx, nobody let in"),
    "conformance": ("conformance", "requests drawn from the Swagger document, answered as it says"),
    "tokens": ("tokens", "how many are made where many find theirs expired, beside Authlib"),
    "restart": ("restart", "calls while the platform is killed and started anew"),
    "connections": ("connections", "an OAuth connection beside a bare client and Authlib"),
    "organizations": ("organizations", "a webhook beside a hand-written view, among 1,000 and 1,000,000"),
    "login": ("login", "what the time of a log-in tells, and what it costs the others"),
    "webhooks": ("inbox.rates", "acknowledgements, rates, and an inbox that grows"),
    "kill": ("inbox.kill", "web and worker processes killed during 20,000 deliveries"),
    "broker": ("inbox.broker", "the broker gone for a minute"),
}
#: Bounds of what can be asked for, so that a slip does not keep the machine busy for days.
MAX_SECONDS, MAX_ROUNDS, MAX_CONNECTIONS = 120.0, 50, 512


def main(arguments: list[str] | None = None) -> int:
    """:returns: the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    options = Options(
        plan=Plan(given.seconds, given.warm_up, given.rounds),
        driver=given.driver,
        connections=given.connections,
        threads=given.threads,
        venv=given.venv,
        only=given.only,
        report=given.report,
        count=given.count,
    )
    # Containers and process managers say SIGTERM where a person presses Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = _benchmark(given.what)(options)
        print(report)
        if options.report is not None:
            options.report.write_text(report)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"benchmark: {error!r}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


def _benchmark(what: str) -> Callable[[Options], str]:
    # Imported when chosen: each needs other parts installed.
    run: Callable[[Options], str] = import_module(f".{BENCHMARKS[what][0]}", __package__).run
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Flask-Orbro.",
        epilog="\n".join(f"{what:<14} {shows}" for what, (_, shows) in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=tuple(BENCHMARKS),
        default="quick",
        metavar="what",
        help="quick, or see below",
    )
    parser.add_argument("--seconds", type=_between(0.2, MAX_SECONDS), default=5.0, help="each run (5)")
    parser.add_argument("--warm-up", type=_between(0, MAX_SECONDS), default=1.0, help="before each run (1)")
    parser.add_argument("--rounds", type=_whole(MAX_ROUNDS), default=3, help="medians are of these (3)")
    parser.add_argument("--connections", type=_whole(MAX_CONNECTIONS), default=16)
    parser.add_argument("--threads", type=_whole(256), default=16, help="of the gunicorn worker (16)")
    parser.add_argument(
        "--driver",
        choices=("auto", "python", "wrk"),
        default="auto",
        help="the load generator; auto: wrk where it is installed",
    )
    parser.add_argument(
        "--venv", type=Path, help="keep the peer's virtual environment here; else it is made each time"
    )
    parser.add_argument("--only", default="", help="scenarios with this in their names, such as 'outbound'")
    parser.add_argument(
        "--count",
        type=_whole(1_000_000),
        help="deliveries of kill (20,000), requests of fuzz (100,000) or conformance (20,000), log-ins (150)",
    )
    parser.add_argument("--report", type=Path, help="write the result to this file, too")
    return parser


def _between(least: float, most: float) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be {least:g} to {most:g}, not {text}")
        return value

    return seconds


def _whole(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not 1 <= value <= most:
            raise argparse.ArgumentTypeError(f"must be 1 to {most}, not {text}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
