"""Asking the platform whether it accepts a secret: the only thing that makes a secret count."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from ..config import Config
from ..http.flight import SingleFlight
from ..http.forks import anew_after_fork
from ..http.network import seconds_left
from ..http.pool import HttpPool, Unreachable
from ..http.server_clock import ServerClock
from ..installation import Organization
from ..logs import get_logger
from ..metrics import Metrics
from ..protocol import CONNECT_PATH, mint_app_token, organization_origin
from ..verdicts import Outcome, read_verdict

logger = get_logger(__name__)

#: Proofs that run at once, at most: a flood of forged installs must not become a flood of questions.
AT_ONCE = 2
#: Life of the token that is shown for a proof, in seconds.
PROOF_LIFETIME = 60


@dataclass(frozen=True)
class Proof:
    """What the platform said, and how old that is.

    :param seen: the organization as it was read before the question was asked: a proven install that it
        does not show is newer than the answer.
    """

    outcome: Outcome
    seen: Organization | None


class Prover:
    """Shows the platform a freshly minted token and reads its answer, never one from a cache.

    That ``connect-auth/token`` accepts the app's own tokens, echoes ``organization_id`` and ties
    ``iss`` to the secret is assumed; the platform documents none of it.
    """

    def __init__(self, config: Config, http: HttpPool, clock: ServerClock, metrics: Metrics) -> None:
        self._config = config
        self._http = http
        self._clock = clock
        self._metrics = metrics
        self._flights: SingleFlight[Proof | None] = SingleFlight()
        self._hung_until = 0.0
        anew_after_fork(self)

    def start_anew(self) -> None:
        """Forget the proofs that run: in a forked child none does."""
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._stored_slots = threading.BoundedSemaphore(AT_ONCE)

    @property
    def platform_hangs(self) -> bool:
        """Whether it took long over a question a moment ago."""
        return time.monotonic() < self._hung_until

    def ask(
        self,
        *,
        organization_id: str,
        subdomain: str,
        shared_secret: str,
        user_id: str | None,
        seen: Organization | None,
        wait: float = 0,
        stored: bool = False,
    ) -> Proof | None:
        """Ask whether this secret is this organization's, at this subdomain; once at a time for each.

        :param seen: the organization as the caller has read it; who shares an answer gets what was read by
            the one that asked.
        :param wait: seconds to wait for a free slot; 0 waits for nobody who asks the same, either.
        :param stored: the secret is one that was proven: strangers' claims do not take its slots.
        :returns: the answer, or ``None`` where too many proofs run already, or no time is left.
        """
        if seconds_left() <= 0:
            return None
        question = "\n".join((organization_id, subdomain, shared_secret, user_id or ""))

        if not wait and self._flights.is_under_way(question):
            return None
        slots = self._stored_slots if stored else self._slots

        def ask() -> Proof | None:
            if not slots.acquire(timeout=wait):
                return None
            try:
                skew = self._clock.skew
                outcome = self._ask(organization_id, subdomain, shared_secret, user_id)
                if outcome is not Outcome.ACCEPTED and self._clock.skew != skew:
                    # The token was of another time than the platform's, as its answer has told.
                    outcome = self._ask(organization_id, subdomain, shared_secret, user_id)
                return Proof(outcome, seen)
            finally:
                slots.release()

        return self._flights(question, ask)

    def _ask(self, organization_id: str, subdomain: str, shared_secret: str, user_id: str | None) -> Outcome:
        began = time.monotonic()
        outcome = self._answer(organization_id, subdomain, shared_secret, user_id)
        ended = time.monotonic()
        if ended - began > self._config.proof_timeout / 2:
            # Longer than the next question takes, so that this one renews it.
            self._hung_until = ended + 4 * self._config.proof_timeout
        self._metrics.remote("proof", outcome.value, ended - began)
        return outcome

    def _answer(
        self, organization_id: str, subdomain: str, shared_secret: str, user_id: str | None
    ) -> Outcome:
        token = mint_app_token(
            client_id=self._config.client_id,
            shared_secret=shared_secret,
            user_id=user_id,
            now=self._clock(),
            lifetime=PROOF_LIFETIME,
        )
        origin = organization_origin(
            subdomain, scheme=self._config.platform_scheme, host=self._config.platform_host
        )
        headers = {"Authorization": f"Bearer {token}"}
        try:
            timeout = max(min(self._config.proof_timeout, seconds_left()), 0.001)
            answer = self._http.ask(origin + CONNECT_PATH, headers, timeout=timeout)
        except Unreachable as error:
            logger.warning("No answer about organization %s: %s.", organization_id, error.reason)
            return Outcome.FAULT
        self._clock.observe(answer.headers, answer.times)
        verdict = read_verdict(CONNECT_PATH, answer.status, answer.headers, answer.body)
        outcome = verdict.outcome
        if verdict.body is not None and verdict.body["organization_id"] != organization_id:
            outcome = Outcome.FOREIGN
        logger.info("The platform on organization %s: %s.", organization_id, outcome.value)
        return outcome
