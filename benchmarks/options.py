"""What both benchmarks can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .runner import Plan


@dataclass(frozen=True)
class Options:
    """:param driver: ``python``, ``wrk`` or ``auto``.
    :param threads: of the one gunicorn worker.
    :param venv: where the peer's virtual environment is kept; ``None``: a temporary folder.
    :param report: a file that the result is written to as well.
    """

    plan: Plan
    driver: str
    connections: int
    threads: int
    venv: Path | None
    report: Path | None
