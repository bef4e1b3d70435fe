"""When a call is sent again, as a policy that :mod:`tenacity` carries out, sync and async alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import tenacity

from .verdicts import retry_after

#: Methods that may be sent twice (RFC 9110, section 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
#: Statuses that say nothing of the request itself.
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """:param attempts: sent so often at most.
    :param budget: seconds for all attempts and the waits between them.
    :param first_wait: seconds before the second attempt; doubled for each, with jitter.
    :param longest_wait: seconds; a ``Retry-After`` beyond it is not waited for.
    """

    attempts: int = 3
    budget: float = 60.0
    first_wait: float = 0.1
    longest_wait: float = 5.0

    def options(self, *, repeatable: bool) -> dict[str, Any]:
        """Arguments of :class:`tenacity.Retrying` and :class:`tenacity.AsyncRetrying`.

        :param repeatable: whether the request may be sent twice; else only a connection that could not
            be opened is tried again.
        """
        retry: Any = tenacity.retry_if_exception_type((httpx2.ConnectError, httpx2.ConnectTimeout))
        if repeatable:
            retry = retry | tenacity.retry_if_exception_type(httpx2.TransportError)
            retry = retry | tenacity.retry_if_result(self._is_passing)
        return {
            "retry": retry,
            "wait": self._wait,
            "stop": tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.budget),
            # The last answer, or the last error, is the caller's.
            "retry_error_callback": lambda state: state.outcome.result(),
        }

    def _is_passing(self, response: httpx2.Response) -> bool:
        wanted = retry_after(response.headers)
        return response.status_code in PASSING and (wanted is None or wanted <= self.longest_wait)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        outcome = state.outcome
        if outcome is not None and not outcome.failed:
            wanted = retry_after(outcome.result().headers)
            if wanted is not None:
                return wanted
        return self._backoff(state)

    def _backoff(self, state: tenacity.RetryCallState) -> float:
        return tenacity.wait_random_exponential(self.first_wait, self.longest_wait)(state)


def is_repeatable(method: str, headers: Mapping[str, str], opted_in: bool | None) -> bool:
    """Whether a request may be sent twice.

    :param opted_in: what the caller says; ``None``: nothing. Else the method decides, and an
        ``Idempotency-Key`` lets any method be repeated.
    """
    if opted_in is not None:
        return opted_in
    return method.upper() in IDEMPOTENT or any(name.lower() == "idempotency-key" for name in headers)
