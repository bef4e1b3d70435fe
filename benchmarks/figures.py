"""Samples by server and scenario over several rounds, and the tables made of their medians."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from .load import Sample


@dataclass(frozen=True)
class Figures:
    """Medians of the rounds. Times are in seconds."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: int
    connections_per_call: float | None


class Book:
    """Keeps every sample under the name of its server and of its scenario."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)

    def add(self, server: str, scenario: str, sample: Sample) -> None:
        self._samples[server, scenario].append(sample)

    def __getitem__(self, key: tuple[str, str]) -> Figures | None:
        """The medians, or ``None`` where nothing was measured."""
        samples = self._samples.get(key)
        if not samples:
            return None
        shares = [s.connections_per_call for s in samples if s.connections_per_call is not None]
        return Figures(
            rate=median(s.rate for s in samples),
            p50=median(s.p50 for s in samples),
            p99=median(s.p99 for s in samples),
            cpu=median(s.cpu for s in samples),
            failed=sum(s.failed for s in samples),
            connections_per_call=median(shares) if shares else None,
        )

    def rows(self) -> Iterable[tuple[str, str, Figures]]:
        for server, scenario in self._samples:
            figures = self[server, scenario]
            assert figures is not None
            yield server, scenario, figures

    def rate_ratio(self, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """How many times the rate of the other, as the median of the rounds' own ratios.

        Load from elsewhere slows both servers of a round; it cancels out within the round.
        """
        pairs = zip(self._samples.get(one, []), self._samples.get(other, []), strict=False)
        ratios = [a.rate / b.rate for a, b in pairs if b.answered]
        return median(ratios) if ratios else None

    def cpu_ratio(self, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """How many times the CPU per request of the other; as :meth:`rate_ratio`."""
        pairs = zip(self._samples.get(one, []), self._samples.get(other, []), strict=False)
        ratios = [a.cpu / b.cpu for a, b in pairs if b.cpu]
        return median(ratios) if ratios else None


def main_table(book: Book) -> str:
    """One line for each server and scenario."""
    head = ("server", "scenario", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "failed")
    lines = [
        (
            server,
            scenario,
            f"{figures.rate:,.0f}" if figures.rate >= 100 else f"{figures.rate:.1f}",
            f"{figures.p50 * 1e3:.2f}",
            f"{figures.p99 * 1e3:.2f}",
            f"{figures.cpu * 1e6:,.0f}",
            str(figures.failed),
        )
        for server, scenario, figures in book.rows()
    ]
    return table(head, lines)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the columns line up in a terminal, too."""
    widths = [max(len(row[i]) for row in (head, *lines)) for i in range(len(head))]
    numbers = [
        i > 0 and all(row[i][:1].isdigit() or row[i] in ("", "-") for row in lines) for i in range(len(head))
    ]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numbers, strict=True)
        )
        return "| " + " | ".join(cells) + " |"

    rule = (
        "|"
        + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, numbers, strict=True))
        + "|"
    )
    return "\n".join((line(head), rule, *map(line, lines)))
