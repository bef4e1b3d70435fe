"""The one error that a benchmark ends with."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The measurement cannot go on. The message is one sentence for the person at the terminal."""
