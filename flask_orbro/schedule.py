"""When the platform is asked about something again: with growing gaps, and sooner where it is needed."""

from __future__ import annotations

#: How long to wait before the platform is asked again, by the number of times it was asked (seconds).
ASK_AGAIN = (1, 2, 4, 8, 15, 30, 60, 300, 900, 3600)
#: How soon what is needed may be asked about again (seconds): anybody can make a claim needed.
NEEDED_GAP = 5


def ask_gap(asked: int) -> float:
    """Seconds until the next question, growing with the number asked."""
    return ASK_AGAIN[min(max(asked, 1), len(ASK_AGAIN)) - 1]


def needed_at(asked: int, ask_at: float | None) -> float:
    """From when on something that is needed may be asked about.

    At once after the first question, which comes before the platform has our answer; then, however
    long the gap has grown, after ``NEEDED_GAP``.
    """
    if asked <= 1 or ask_at is None:
        return 0
    gap = ask_gap(asked)
    return ask_at - gap + min(gap, NEEDED_GAP)


def may_ask(asked: int, ask_at: float | None, now: float) -> bool:
    """Whether something that is needed now may be asked about."""
    return now >= needed_at(asked, ask_at)
