"""What a benchmark can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .runner import Plan


@dataclass(frozen=True)
class Options:
    """:param driver: ``python``, ``wrk`` or ``auto``.
    :param threads: of the one gunicorn worker.
    :param venv: where the peer's virtual environment is kept; ``None``: a temporary folder.
    :param only: leaves out scenarios whose names do not have this in them; empty: none.
    :param report: a file that the result is written to as well.
    :param count: how many to send, where that is what counts; ``None``: as the benchmark has it.
    """

    plan: Plan
    driver: str
    connections: int
    threads: int
    venv: Path | None
    only: str
    report: Path | None
    count: int | None = None
