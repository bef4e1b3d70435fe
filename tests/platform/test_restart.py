"""A short run of ``python -m benchmarks restart``; the long one is a command."""

from __future__ import annotations

import pytest

from benchmarks.restart import WAYS, measure

CALLS, CALLERS, BUDGET = 1_200, 16, 5.0


@pytest.mark.parametrize("way", WAYS)
def test_while_the_platform_is_killed_and_started_again_every_call_ends_well(way: str) -> None:
    outcome = measure(way, calls=CALLS, callers=CALLERS, gone=1.0, budget=BUDGET)
    assert outcome.untyped == {}
    assert set(outcome.answers) == {"200", "PlatformUnavailable"}
    assert outcome.answers["200"] > CALLS // 2, "it works again afterwards"
    assert outcome.slowest < BUDGET + 1
    # A connection for each caller, and what happens to be open for a moment.
    assert max(outcome.files) <= outcome.files[0] + CALLERS
    assert outcome.files[-1] <= outcome.files[0] + 2
