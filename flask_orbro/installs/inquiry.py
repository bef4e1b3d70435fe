"""Asking the platform about what is stored and what waits, and taking the consequences.

The answers drive the state machine of :mod:`.installation`; nothing else makes a claim count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from blinker import NamedSignal

from .. import signals
from ..config import Config
from ..errors import ServiceUnavailable
from ..installation import Claim, Organization, State, claim_asked, judge, prove, without_questions
from ..logs import get_logger
from ..protocol import is_usable_secret
from ..schedule import may_ask
from ..stores.claims import ClaimStore
from ..stores.organizations import OrganizationStore
from ..stores.transactions import UNREADABLE
from ..verdicts import Outcome
from .proof import Proof, Prover

logger = get_logger(__name__)

#: How often a proof is repeated that another proven install overtook.
OVERTAKEN = 3
#: Seconds between two warnings that nothing was ever proven.
WARN_AGAIN = 600


class Inquiry:
    """:param announce: sends a signal about an organization, after commit; it never raises.
    :param asks_later: called when there is something to ask about later.
    """

    def __init__(
        self,
        *,
        config: Config,
        organizations: OrganizationStore,
        claims: ClaimStore,
        prover: Prover,
        clock: Callable[[], float],
        announce: Callable[[NamedSignal, Organization], None],
        asks_later: Callable[[], None],
    ) -> None:
        self._config = config
        self._organizations = organizations
        self._claims = claims
        self._prover = prover
        self._clock = clock
        self._announce = announce
        self._asks_later = asks_later
        self._warned_at = float(-WARN_AGAIN)

    @property
    def platform_hangs(self) -> bool:
        """Whether it took long over a question a moment ago: who waits for a turn now waits in vain."""
        return self._prover.platform_hangs

    def prove(self, claim: Claim, *, wait: float = 0) -> Outcome | None:
        """Ask about a claim, and install it where the platform accepts it.

        :param wait: seconds to wait while other proofs run.
        :returns: the outcome, or ``None`` where it could not be asked now.
        """
        for _ in range(OVERTAKEN):
            stored = self._organizations.get(claim.organization_id)
            subdomain = claim.subdomain or (stored.subdomain if stored else None)
            if subdomain is None:
                return None
            proof = self._prover.ask(
                organization_id=claim.organization_id,
                subdomain=subdomain,
                shared_secret=claim.shared_secret,
                user_id=claim.user_id or (stored.installed_user_id if stored else None),
                seen=stored,
                wait=wait,
            )
            if proof is None:
                return None
            if proof.outcome is not Outcome.ACCEPTED:
                self._claims.save(claim_asked(claim, proof.outcome, self._clock()))
                return proof.outcome
            if self.install(replace(claim, subdomain=subdomain), proof.seen):
                return proof.outcome
        return None

    def reconsider(self, claims: Iterable[Claim]) -> Outcome:
        """Ask about claims that are needed now, until one is proven.

        One that was refused a moment ago counts as refused, so that what anybody can repeat is not a
        question each time.

        :returns: ``ACCEPTED`` where one is proven; else the least certain answer: ``FAULT`` where one
            could not be asked about, ``UNDECIDED``, or ``REFUSED``.
        """
        unsure = Outcome.REFUSED
        for claim in claims:
            if not may_ask(claim.asked, claim.ask_at, self._clock()):
                if claim.refused < claim.asked:
                    unsure = Outcome.FAULT
                continue
            outcome = self.prove(claim)
            if outcome is Outcome.ACCEPTED:
                return outcome
            if outcome is None or outcome in (Outcome.FAULT, Outcome.RATE_LIMITED, Outcome.EXPIRED):
                return Outcome.FAULT  # one question that hangs is enough for one request
            if outcome is Outcome.UNDECIDED and unsure is Outcome.REFUSED:
                unsure = outcome
        return unsure

    def check(self, organization: Organization, *, wait: float = 0) -> Organization:
        """Ask about the *stored* secret and take the consequences.

        :returns: the organization as it is then; unchanged where it could not be asked now.
        """
        if not _can_be_asked_about(organization):
            return self._not_to_be_asked(organization)
        proof = self._answer_about(organization, wait)
        if proof is None:
            return organization
        outcome, seen = proof.outcome, proof.seen or organization
        now = self._clock()
        signal: NamedSignal | None = None

        def transition(current: Organization | None) -> Organization | None:
            nonlocal signal
            signal = None
            # An answer about another secret, or about a moment before a proven install, says nothing.
            if current is None or current.shared_secret != seen.shared_secret:
                return current
            if current.proven_at != seen.proven_at:
                return current
            judged = judge(current, outcome, now=now, grace=self._config.uninstall_grace)
            if judged.state is State.UNINSTALLED:
                signal = signals.app_uninstalled
            elif judged.proven_at > current.proven_at:
                signal = signals.app_installed
            return judged

        after = self._organizations.change(organization.organization_id, transition)
        if after is None:
            return organization
        if signal is not None:
            logger.warning("Organization %s is %s.", after.organization_id, after.state.value)
            self._announce(signal, after)
        if after.ask_at is not None:
            self._asks_later()
        return after

    def _answer_about(self, organization: Organization, wait: float) -> Proof | None:
        if self._config.install_proof == "none" and organization.state is State.PENDING:
            return Proof(Outcome.ACCEPTED, organization)  # the first install is trusted, and this is it
        return self._prover.ask(
            organization_id=organization.organization_id,
            subdomain=organization.subdomain or "",
            shared_secret=organization.shared_secret or "",
            user_id=organization.installed_user_id,
            seen=organization,
            wait=wait,
            stored=True,
        )

    def _not_to_be_asked(self, organization: Organization) -> Organization:
        """An organization that an operator answers for; what is due is that an old secret goes.

        Or one whose secret cannot be read: what is due stays so, for its key may come back.
        """
        if organization.ask_at is None:
            return organization
        now = self._clock()
        if organization.shared_secret is None and not organization.approved:
            self._organizations.put_off(organization.organization_id, now + UNREADABLE)
            return organization
        after = self._organizations.change(
            organization.organization_id, lambda current: current and without_questions(current, now)
        )
        return after or organization

    def bound(self, organization: Organization) -> Organization:
        """The organization, asked about where its subdomain was not proven within ``ORBRO_BINDING_TTL``.

        :raises ServiceUnavailable: where it could not be asked about for as long again, or ever.
        """
        if organization.approved or (
            self._config.install_proof == "none" and organization.state is not State.PENDING
        ):
            return organization
        age = self._clock() - organization.binding_proven_at
        is_bound = organization.bound_subdomain is not None
        if is_bound and age < self._config.binding_ttl:
            return organization
        if may_ask(organization.asked, organization.ask_at, self._clock()):
            organization = self.check(organization)
        age = self._clock() - organization.binding_proven_at
        unsure = organization.bound_subdomain is not None and age >= 2 * self._config.binding_ttl
        never_answered = organization.state is State.PENDING and organization.refused_at is None
        if unsure or (never_answered and _can_be_asked_about(organization)):
            raise ServiceUnavailable(
                "The platform cannot be asked about this organization now.",
                reason="organization_undecided",
                retry_after=2,
            )
        return organization

    def is_settled(self, organization: Organization) -> bool:
        """Whether :meth:`bound` asks nobody about an active organization now, nor for a second yet."""
        if organization.state is not State.ACTIVE:
            return False
        if organization.approved or self._config.install_proof == "none":
            return True
        return organization.bound_subdomain is not None and (
            self._clock() + 1 < organization.binding_proven_at + self._config.binding_ttl
        )

    def sweep(self) -> float | None:
        """Ask about everything that is due.

        :returns: when the next question is due, or ``None`` where nothing waits.
        """
        now = self._clock()
        self._claims.drop_old(now)
        wait = 2 * self._config.proof_timeout
        for organization in self._organizations.due(now):
            self.check(organization, wait=wait)
        for claim in self._claims.due(now):
            if not is_usable_secret(claim.shared_secret):
                self._claims.drop(claim)  # kept by an earlier version: nothing can be signed with it
            elif self.prove(claim, wait=wait) is None and claim.subdomain is None:
                # Nobody can be asked about it: an operator can approve it.
                self._claims.save(claim_asked(claim, Outcome.FAULT, self._clock()))
        due = [at for at in (self._claims.next_due(), self._organizations.next_due()) if at is not None]
        self._warn_where_nothing_is_ever_proven()
        return min(due, default=None)

    def install(
        self,
        claim: Claim,
        seen: Organization | None,
        *,
        approved: bool = False,
        takes_subdomain: bool = True,
    ) -> bool:
        """Put a proven claim in force, unless another was proven meanwhile.

        :param seen: the organization as it was before the proof.
        :param approved: it is an operator's word that proves it.
        :param takes_subdomain: as :meth:`OrganizationStore.change`.
        """
        now = self._clock()
        window = self._config.previous_secret_window

        overtaken = False

        def transition(current: Organization | None) -> Organization | None:
            nonlocal overtaken
            # Not by the clock, which may have stepped back.
            overtaken = (
                current is not None and current.is_active and _last_proof(current) != _last_proof(seen)
            )
            if overtaken:
                return current
            return replace(prove(current, claim, now=now, window=window), approved=approved)

        after = self._organizations.change(claim.organization_id, transition, takes_subdomain=takes_subdomain)
        if after is None or after.shared_secret != claim.shared_secret:
            return False
        self._claims.drop(claim)
        if not overtaken:  # else the same install was proven at the same time, and told of
            logger.info("Organization %s is installed.", claim.organization_id)
            self._announce(signals.app_installed, after)
            if after.ask_at is not None:
                self._asks_later()
        return True

    def _warn_where_nothing_is_ever_proven(self) -> None:
        if time.monotonic() < self._warned_at + WARN_AGAIN:
            return
        waiting = self._claims.count()
        if waiting and not self._organizations.any_proven():
            self._warned_at = time.monotonic()
            logger.warning(
                "%d installs wait and none was ever proven: the platform has not accepted the secret of "
                "any. Nobody is let in. See 'flask orbro organizations', and if the platform cannot "
                "confirm them, 'flask orbro organizations approve'.",
                waiting,
            )


def _last_proof(organization: Organization | None) -> tuple[float, str | None] | None:
    return None if organization is None else (organization.proven_at, organization.shared_secret)


def _can_be_asked_about(organization: Organization) -> bool:
    """Whether the platform can be shown a token: made with its secret, at its subdomain."""
    secret = organization.shared_secret
    known = secret is not None and organization.subdomain is not None and not organization.approved
    return known and is_usable_secret(secret or "")
