"""When a call is sent again, as a policy that :mod:`tenacity` carries out, sync and async alike."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2
import tenacity

from ..verdicts import retry_after
from .network import seconds_left

#: Methods that may be sent twice (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
#: Statuses that say nothing of the request itself.
PASSING = frozenset({429, 502, 503, 504})
#: Errors of a request of which nothing was sent.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True)
class RetryPolicy:
    """:param attempts: sent so often at most.
    :param budget: seconds for all attempts and the waits between them.
    :param first_wait: seconds before the second attempt, doubled for each; half of them are left to chance.
    :param longest_wait: seconds; a ``Retry-After`` beyond it is not waited for.
    :param clock: of who answers, in seconds since the epoch.
    """

    attempts: int = 4
    budget: float = 60.0
    first_wait: float = 0.3
    longest_wait: float = 5.0
    clock: Callable[[], float] = time.time

    @cached_property
    def repeating(self) -> dict[str, Any]:
        """Arguments of :class:`tenacity.Retrying` and its like, for a request that may be sent twice."""
        broken: Any = tenacity.retry_if_exception(_is_broken)
        return self._arguments(broken | tenacity.retry_if_result(self._is_passing))

    @cached_property
    def reconnecting(self) -> dict[str, Any]:
        """The same for one that may not: a connection that could not be opened has sent nothing."""
        return self._arguments(tenacity.retry_if_exception_type(_UNSENT))

    def _arguments(self, retry: Any) -> dict[str, Any]:
        enough: Any = tenacity.stop_after_attempt(self.attempts)
        return {
            "retry": retry,
            "wait": self._wait,
            "stop": enough | _is_too_late,
            # The last answer, or the last error, is the caller's.
            "retry_error_callback": lambda state: state.outcome.result(),
        }

    def _is_passing(self, response: httpx2.Response) -> bool:
        wanted = retry_after(response.headers, self.clock())
        return response.status_code in PASSING and (wanted is None or wanted <= self.longest_wait)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        outcome = state.outcome
        if outcome is not None and not outcome.failed:
            wanted = retry_after(outcome.result().headers, self.clock())
            if wanted is not None:
                # Not all of those at once who were told so at once.
                return wanted + random.uniform(0, self.first_wait)  # noqa: S311
        wait: float = self._backoff(state)
        return wait

    @cached_property
    def _backoff(self) -> Any:
        halves = (self.first_wait / 2, self.longest_wait / 2)
        # Not by chance alone: with bad luck all attempts would be within the moment that a restart takes.
        return tenacity.wait_exponential(*halves) + tenacity.wait_random_exponential(*halves)


def send_again(policy: dict[str, Any], send: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Send, and again where it failed and the policy says so.

    :mod:`tenacity` takes its time, so it is told of the first attempt only where that failed.
    """
    try:
        response = send()
        if response.status_code not in PASSING:
            return response
        told: list[httpx2.Response | Exception] = [response]
    except httpx2.TransportError as error:
        told = [error]

    def attempt() -> httpx2.Response:
        return _outcome(told.pop()) if told else send()

    return tenacity.Retrying(**policy)(attempt)


async def async_send_again(
    policy: dict[str, Any], send: Callable[[], Awaitable[httpx2.Response]]
) -> httpx2.Response:
    """As :func:`send_again`."""
    try:
        response = await send()
        if response.status_code not in PASSING:
            return response
        told: list[httpx2.Response | Exception] = [response]
    except httpx2.TransportError as error:
        told = [error]

    async def attempt() -> httpx2.Response:
        return _outcome(told.pop()) if told else await send()

    return await tenacity.AsyncRetrying(**policy)(attempt)


def _outcome(known: httpx2.Response | Exception) -> httpx2.Response:
    if isinstance(known, Exception):
        raise known
    return known


def _is_broken(error: BaseException) -> bool:
    # What we say wrongly ourselves will not be better the next time.
    return isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.LocalProtocolError)


def _is_too_late(state: tenacity.RetryCallState) -> bool:
    return seconds_left() < state.upcoming_sleep


def is_repeatable(method: str, headers: Container[str], opted_in: bool | None) -> bool:
    """Whether a request may be sent twice.

    :param headers: whose names are compared without their case.
    :param opted_in: what the caller says; ``None``: nothing. Else the method decides, and an
        ``Idempotency-Key`` lets any method be repeated.
    """
    if opted_in is not None:
        return opted_in
    return method in IDEMPOTENT or "Idempotency-Key" in headers
