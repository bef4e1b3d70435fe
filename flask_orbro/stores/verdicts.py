"""Verdicts that are remembered for a moment, and can be forgotten at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..protocol import TokenError, named_expiry
from ..verdicts import Outcome, Verdict
from .cache import OthersTooSlow, SealedCache

#: Between two times that a token is forgotten, in seconds, whatever the clocks say.
TICK = 0.001
#: Why there is no verdict where others were waited for.
TOO_LONG = "waited_too_long"


class VerdictStore:
    """:param ttl: how long an acceptance is remembered, in seconds; never past the token's ``exp``.
    :param negative_ttl: how long a refusal is remembered, in seconds.
    :param fault_ttl: how long other processes are told of a fault, in seconds.
    """

    def __init__(
        self,
        cache: SealedCache,
        *,
        ttl: float,
        negative_ttl: float,
        fault_ttl: float,
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        #: Forgotten tokens, again: Redis may be out of reach when one is forgotten, and come back unknowing.
        self._here = cache.of_this_process()
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self._fault_ttl = fault_ttl
        self._clock = clock

    def name(self, url: str, organization_id: str, token: str) -> str:
        """The name that a verdict is kept under: a keyed hash."""
        return self._cache.name(url, organization_id, token)

    def recall(self, name: str, token: str) -> tuple[Verdict | None, float]:
        """What is known under a name.

        :returns: the verdict, unless the token was forgotten since it was asked for, and when the token
            was last forgotten: what is asked from now on is remembered with it.
        """
        marker = self._marker(token)
        entry, told = self._cache.get_many([name, marker])
        forgotten = self._forgotten(marker, told)
        # Who asked had heard of it: no matter what the clocks of two machines say.
        if entry is None or entry["forgotten"] < forgotten:
            return None, forgotten
        entry.pop("forgotten")
        return Verdict(Outcome(entry.pop("outcome")), **entry), forgotten

    def remember(self, name: str, token: str, verdict: Verdict, forgotten: float) -> None:
        """Keep a verdict for as long as its kind may be kept.

        :param forgotten: when the token was last forgotten, as :meth:`recall` said before it was asked about.
        """
        entry = {
            "outcome": verdict.outcome.value,
            "body": dict(verdict.body) if verdict.body else None,
            "retry_after": verdict.retry_after,
            "reason": verdict.reason,
            "forgotten": forgotten,
        }
        self._cache.set(name, entry, self._life(verdict, token))

    def forget(self, token: str) -> None:
        """Let nothing that was ever asked about a token count any more."""
        marker = self._marker(token)
        before = self._forgotten(marker, self._cache.get(marker))
        mark = {"at": max(self._clock(), before + TICK)}
        for cache in (self._here, self._cache):
            cache.set(marker, mark, self._ttl + self._negative_ttl + 60)

    @contextmanager
    def turn(self, name: str, token: str, patience: float) -> Iterator[Verdict | None]:
        """Take turns with the other processes that share the cache.

        :param patience: how long a question takes at most, in seconds.
        :returns: what another process has found out meanwhile, or ``None``: ask.
        """
        try:
            with self._cache.turn(name, lambda: self.recall(name, token)[0], patience) as found:
                yield found
        except OthersTooSlow:
            yield Verdict(Outcome.FAULT, reason=TOO_LONG)

    def _marker(self, token: str) -> str:
        return self._cache.name("forgotten", token)

    def _forgotten(self, marker: str, told: dict[str, Any] | None) -> float:
        """When a token was last forgotten, as anybody here or in the cache knows; 0: never."""
        return max(mark["at"] for mark in (told, self._here.get(marker), {"at": 0.0}) if mark is not None)

    def _life(self, verdict: Verdict, token: str) -> float:
        if verdict.outcome is Outcome.ACCEPTED:
            return self._life_of_acceptance(token)
        if verdict.outcome in (Outcome.REFUSED, Outcome.EXPIRED):
            return self._negative_ttl
        # Those who waited for this answer in other processes shall not each ask again in turn.
        told = self._fault_ttl if self._cache.shared else 0
        return max(told, min(verdict.retry_after or 0, self._negative_ttl))

    def _life_of_acceptance(self, token: str) -> float:
        try:
            expires = named_expiry(token)
        except TokenError:
            return 0  # it may have expired by now, for all that can be read of it
        return self._ttl if expires is None else min(self._ttl, expires - self._clock())
