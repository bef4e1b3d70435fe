"""A short run of ``python -m benchmarks fuzz``; the long one is a command."""

from __future__ import annotations

import warnings

from benchmarks.fuzz import fuzz

REQUESTS = 3000


def test_strange_requests_are_answered_below_500_and_let_nobody_in() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # schemathesis tells of what it could not generate
        statuses = fuzz(REQUESTS)
    assert statuses.total() >= REQUESTS
    assert {200, 400, 401} <= set(statuses)
