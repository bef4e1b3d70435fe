"""A day of calls, on a clock that is stepped, to a platform whose clock differs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_orbro.simulator import Platform, SimulatorServer
from flask_orbro.state import get_state

from ..world import World
from .conftest import Caller, tokens_of

DAY, STEP = 86_400, 420


class Clock:
    """Stands still but for :meth:`step`."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("ahead", "way"), [(0, "sync"), (300, "sync"), (-300, "sync"), (300, "asyncio"), (-300, "async view")]
)
def test_no_call_of_a_day_fails_for_a_stale_token(
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    ahead: int,
    way: str,
) -> None:
    clock = Clock()
    with SimulatorServer(platform=Platform(clock=lambda: clock() + ahead)) as simulator:
        host = {"ORBRO_PLATFORM_HOST": simulator.platform_host}
        world = World(make_app, serving, simulator, install=False, **host)
        call = Caller(world, way)
        world.install()
        platform = get_state(world.app).platform
        monkeypatch.setattr(platform.tokens._clock, "_clock", clock)
        monkeypatch.setattr(platform.tokens._cache, "_clock", clock)
        statuses: Counter[int] = Counter()
        for _ in range(DAY // STEP):
            statuses[call().status_code] += 1
            clock.now += STEP
        shown = tokens_of(world)
        assert statuses == {200: DAY // STEP}
        # Once the difference is known nothing is refused, and a token is shown for 29 of its 30 minutes.
        assert len(shown) <= DAY // STEP + 1
        renewed = -(-(DAY // STEP) // (1740 // STEP + 1))
        assert renewed <= len(set(shown)) <= renewed + 1
