"""A short run of ``python -m benchmarks restart``; the long one is a command."""

from __future__ import annotations

import pytest

from benchmarks.restart import WAYS, measure

CALLS, CALLERS, BUDGET = 1_200, 16, 5.0
#: Longer than all waits between the attempts of a call, so that some end in an error (seconds).
GONE = 3.0


@pytest.mark.parametrize("way", WAYS)
def test_while_the_platform_is_killed_and_started_again_every_call_ends_well(way: str) -> None:
    outcome = measure(way, calls=CALLS, callers=CALLERS, gone=GONE, budget=BUDGET)
    assert outcome.untyped == {}
    assert set(outcome.answers) == {"200", "PlatformUnavailable"}
    assert outcome.answers["200"] > CALLS // 2, "it works again afterwards"
    assert outcome.slowest < BUDGET + 1
    # A connection for each caller at most, beside what was open at first; a call that failed keeps none.
    assert max(outcome.files) <= outcome.files[0] + CALLERS
