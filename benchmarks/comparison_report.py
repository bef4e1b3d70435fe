"""What the comparison says: the figures, and how they stand to the targets."""

from __future__ import annotations

from .figures import Book, main_table, table
from .scenarios import (
    ASYNC_OUTBOUND,
    BARE,
    COLD,
    HANDWRITTEN,
    LATENCIES,
    LOCAL,
    OURS,
    OUTBOUND,
    PEER,
    PEER_ONE,
    WARM,
    WEBHOOK,
    at,
)

_MISSING = "-"


def report(book: Book) -> str:
    """Markdown: all figures, then ratios beside their targets, added CPU and connections."""
    parts = (main_table(book), _ratios(book), _added_cpu(book), _connections(book))
    return "\n\n".join(parts) + "\n"


def _ratios(book: Book) -> str:
    """Throughput of ours over that of others. Each latency has a line; so has each certificate store."""
    lines: list[tuple[str, ...]] = [_ratio(book, WEBHOOK, PEER, WEBHOOK, "1.5")]
    for latency in LATENCIES:
        warm, cold, outbound = at(WARM, latency), at(COLD, latency), at(OUTBOUND, latency)
        in_a_loop = at(ASYNC_OUTBOUND, latency)
        lines += [
            _ratio(book, warm, PEER, cold, "40"),
            _ratio(book, warm, PEER_ONE, cold, ""),
            _ratio(book, cold, PEER, cold, "15"),
            _ratio(book, cold, PEER_ONE, cold, ""),
            _ratio(book, outbound, PEER, outbound, "20"),
            _ratio(book, outbound, PEER_ONE, outbound, "4"),
            _ratio(book, outbound, HANDWRITTEN, outbound, "0.85"),
            _ratio(book, in_a_loop, PEER, outbound, ""),
            _ratio(book, in_a_loop, HANDWRITTEN, outbound, ""),
            _ratio(book, in_a_loop, HANDWRITTEN, in_a_loop, ""),
        ]
    return table(("flask-orbro", "compared with", "times", "target, at least"), lines)


def _ratio(book: Book, scenario: str, other: str, its_scenario: str, target: str) -> tuple[str, ...]:
    ratio = book.rate_ratio((OURS, scenario), (other, its_scenario))
    shown = _MISSING if ratio is None else f"{ratio:.2f}"
    compared = other if its_scenario == scenario else f"{other}: {its_scenario}"
    return scenario, compared, shown, target or _MISSING


def _added_cpu(book: Book) -> str:
    """CPU over each server's own bare route; the target is for a warm verdict."""
    lines = []
    local = _added(book, HANDWRITTEN, LOCAL)
    for server, scenario, _ in book.rows():
        added = _added(book, server, scenario)
        if scenario == BARE or added is None:
            continue
        is_warm = server == OURS and scenario.startswith(WARM)
        share = f"{added / local:.2f}" if is_warm and local else _MISSING
        lines.append((server, scenario, f"{added * 1e6:,.0f}", share, "1.2" if is_warm else _MISSING))
    head = ("server", "scenario", "CPU added, µs", "times @jwt_required()", "target, at most")
    return table(head, lines)


def _added(book: Book, server: str, scenario: str) -> float | None:
    # Both peers are one program; only one of them was asked for its bare route.
    bare = book[PEER if server == PEER_ONE else server, BARE]
    figures = book[server, scenario]
    return figures.cpu - bare.cpu if figures and bare else None


def _connections(book: Book) -> str:
    lines = [
        (server, scenario, f"{figures.connections_per_call:.4f}")
        for server, scenario, figures in book.rows()
        if figures.connections_per_call is not None
    ]
    return table(("server", "scenario", "connections per request to the platform"), lines)
