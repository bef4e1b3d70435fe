"""Verdicts are remembered for a moment, and a token that is forgotten is forgotten everywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_orbro.protocol import USER_PATH
from flask_orbro.stores.cache import MemoryCache, SealedCache
from flask_orbro.stores.verdicts import VerdictStore
from flask_orbro.verdicts import Outcome, Verdict

TOKEN = "opaque-token"
ACCEPTED = Verdict(Outcome.ACCEPTED, body={"uuid": "u1"})
TTL, NEGATIVE_TTL = 30, 5


class SharedMemory(MemoryCache):
    """What two processes see of one Redis."""

    shared = True


class Clock:
    """A clock that a test moves, and another host's that is ahead of it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def ahead(self, seconds: float) -> Callable[[], float]:
        return lambda: self.now + seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store(cache: MemoryCache, clock: Callable[[], float]) -> VerdictStore:
    sealed = SealedCache(cache, "s" * 40, "verdict", clock)
    return VerdictStore(sealed, ttl=TTL, negative_ttl=NEGATIVE_TTL, fault_ttl=1, clock=clock)


@pytest.mark.parametrize("skew", [-20, -2, 0, 2, 20])
def test_a_token_is_forgotten_on_every_host_however_wrong_its_clock(clock: Clock, skew: float) -> None:
    cache = SharedMemory(timer=clock)
    here, there = store(cache, clock), store(cache, clock.ahead(skew))
    name = here.name(USER_PATH, "o1", TOKEN)
    for asking, forgetting in ((here, there), (there, here), (here, here)):
        _, forgotten = asking.recall(name, TOKEN)
        asking.remember(name, TOKEN, ACCEPTED, forgotten)
        assert [each.recall(name, TOKEN)[0] for each in (here, there)] == [ACCEPTED, ACCEPTED]
        forgetting.forget(TOKEN)
        assert [each.recall(name, TOKEN)[0] for each in (here, there)] == [None, None]
        # What was asked before, and is answered only now, does not count either.
        asking.remember(name, TOKEN, ACCEPTED, forgotten)
        assert [each.recall(name, TOKEN)[0] for each in (here, there)] == [None, None]


def test_a_token_that_is_forgotten_twice_at_one_moment_is_forgotten_twice(clock: Clock) -> None:
    verdicts = store(SharedMemory(timer=clock), clock)
    name = verdicts.name(USER_PATH, "o1", TOKEN)
    for _ in range(3):
        verdicts.forget(TOKEN)
        verdicts.remember(name, TOKEN, ACCEPTED, verdicts.recall(name, TOKEN)[1])
        assert verdicts.recall(name, TOKEN)[0] == ACCEPTED
    verdicts.forget(TOKEN)
    assert verdicts.recall(name, TOKEN)[0] is None


def test_a_token_stays_forgotten_for_as_long_as_anything_asked_before_is_kept(clock: Clock) -> None:
    verdicts = store(MemoryCache(timer=clock), clock)
    name = verdicts.name(USER_PATH, "o1", TOKEN)
    _, before = verdicts.recall(name, TOKEN)
    verdicts.forget(TOKEN)
    clock.now += 60  # longer than any question takes
    verdicts.remember(name, TOKEN, ACCEPTED, before)
    for _ in range(TTL):
        assert verdicts.recall(name, TOKEN)[0] is None
        clock.now += 1
    assert verdicts.recall(name, TOKEN)[0] is None
