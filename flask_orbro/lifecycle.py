"""Claims, proof, install and uninstall: the state machine of :mod:`.installation` over the stores.

A lifecycle call is unauthenticated, so it changes nothing by itself: it leaves a claim or a request,
and the platform's own word decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from blinker import NamedSignal

from . import signals
from .config import Config
from .crypto import KeyedHash
from .errors import NotFound, ServiceUnavailable
from .installation import (
    Claim,
    Organization,
    State,
    claim_asked,
    erase,
    judge,
    matches,
    prove,
    request_uninstall,
    suspend,
)
from .logs import get_logger
from .proof import Prover
from .protocol import is_usable_secret
from .stores.claims import ClaimStore
from .stores.organizations import OrganizationStore
from .verdicts import Outcome

logger = get_logger(__name__)

#: How often a proof is repeated that another proven install overtook.
OVERTAKEN = 3


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an ``installed`` call says."""

    organization_id: str
    shared_secret: str
    user_id: str | None = None
    subdomain: str | None = None


class Lifecycle:
    """:param announce: sends a signal about an organization, after commit; it never raises.
    :param claims_wait: called when there is something to ask about later.
    """

    def __init__(
        self,
        *,
        config: Config,
        organizations: OrganizationStore,
        claims: ClaimStore,
        prover: Prover,
        digest: KeyedHash,
        clock: Callable[[], float],
        announce: Callable[[NamedSignal, Organization], None],
        claims_wait: Callable[[], None],
    ) -> None:
        self._config = config
        self._organizations = organizations
        self._claims = claims
        self._prover = prover
        self._digest = digest
        self._clock = clock
        self._announce = announce
        self._claims_wait = claims_wait

    # What the platform, or somebody else, says.

    def installed(self, call: Installed) -> None:
        """Take an install as a claim and ask about it at once.

        :raises ServiceUnavailable: where it is not proven and there is no room for it to wait.
        """
        claim = self._claim(call)
        if matches(self._organizations.get(call.organization_id), claim):
            return
        if self._config.install_proof == "none":
            self._trust_first(claim)
            return
        kept = self._claims.add(claim)
        if self.prove(claim) is Outcome.ACCEPTED:
            return
        if not kept:
            raise ServiceUnavailable(
                "Too many unproven installs wait; send it again later.",
                reason="claims_full",
                retry_after=60,
            )
        self._claims_wait()

    def uninstalled(self, organization_id: str) -> None:
        """Remember an uninstall and ask about it at once; a claim that waits is never dropped.

        :raises NotFound: where nobody ever installed for that organization.
        """
        organization = self._known(organization_id)
        if organization is None:
            return
        if self._config.install_proof == "none":
            # Anybody can say so: the secret is kept, and only who knows it can install again.
            self._organizations.change(organization_id, suspend)
            return
        now = self._clock()
        after = self._organizations.change(
            organization_id, lambda current: current and request_uninstall(current, now)
        )
        if after is not None and after.state is State.ACTIVE:
            self.check(after)
        self._claims_wait()

    def enabled(self, organization_id: str, enabled: bool) -> None:
        """Record what cannot be proven; it counts only with ``ORBRO_TRUST_ENABLED_DISABLED``.

        :raises NotFound: where nobody ever installed for that organization.
        """
        organization = self._known(organization_id)
        if organization is None or not organization.is_active:
            return
        after = self._organizations.change(
            organization_id, lambda current: current and replace(current, enabled=enabled)
        )
        if after is not None:
            signal = signals.app_enabled if enabled else signals.app_disabled
            self._announce(signal, after)

    # Asking the platform.

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
            asked_at = self._clock()
            outcome = self._prover.ask(
                organization_id=claim.organization_id,
                subdomain=subdomain,
                shared_secret=claim.shared_secret,
                user_id=claim.user_id or (stored.installed_user_id if stored else None),
                wait=wait,
            )
            if outcome is None:
                return None
            if outcome is not Outcome.ACCEPTED:
                self._claims.save(claim_asked(claim, outcome, self._clock()))
                return outcome
            if self._install(replace(claim, subdomain=subdomain), asked_at):
                return outcome
        return None

    def check(self, organization: Organization, *, wait: float = 0) -> Organization:
        """Ask about the *stored* secret and take the consequences.

        :returns: the organization as it is then; unchanged where it could not be asked now.
        """
        if organization.shared_secret is None or organization.subdomain is None:
            return self._cannot_be_asked(organization)
        outcome = self._prover.ask(
            organization_id=organization.organization_id,
            subdomain=organization.subdomain,
            shared_secret=organization.shared_secret,
            user_id=organization.installed_user_id,
            wait=wait,
            stored=True,
        )
        if outcome is None:
            return organization
        now = self._clock()

        def transition(current: Organization | None) -> Organization | None:
            # An answer about another secret, or about a moment before a proven install, says nothing.
            if current is None or current.shared_secret != organization.shared_secret:
                return current
            if current.proven_at != organization.proven_at:
                return current
            return judge(current, outcome, now=now, grace=self._config.uninstall_grace)

        after = self._organizations.change(organization.organization_id, transition)
        if after is None:
            return organization
        if after.state is State.UNINSTALLED:
            logger.warning("Organization %s is uninstalled.", after.organization_id)
            self._announce(signals.app_uninstalled, after)
        if after.ask_at is not None:
            self._claims_wait()
        return after

    def _cannot_be_asked(self, organization: Organization) -> Organization:
        """An organization without a subdomain, which an operator approved: no question is ever due."""
        if organization.ask_at is None:
            return organization
        after = self._organizations.change(
            organization.organization_id, lambda current: current and replace(current, ask_at=None)
        )
        return after or organization

    def bound(self, organization: Organization) -> Organization:
        """The organization, asked about where its subdomain was not proven within ``ORBRO_BINDING_TTL``."""
        if self._config.install_proof == "none":
            return organization
        now = self._clock()
        fresh = now < organization.binding_proven_at + self._config.binding_ttl
        if organization.bound_subdomain is not None and fresh:
            return organization
        asked_lately = organization.ask_at is not None and now < organization.ask_at
        return organization if asked_lately else self.check(organization)

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
        return min(due, default=None)

    # The operator's way out.

    def approve(self, claim: Claim, *, subdomain: str | None = None) -> Organization | None:
        """Trust a claim on an operator's word.

        :param subdomain: where the claim names none.
        """
        self._install(replace(claim, subdomain=claim.subdomain or subdomain), self._clock())
        return self._organizations.get(claim.organization_id)

    def remove(self, organization_id: str) -> Organization | None:
        """Uninstall on an operator's word: the secret is erased, a tombstone stays, claims go.

        :returns: the organization as it is then, or ``None`` where it is not known.
        """
        for claim in self._claims.of_organization(organization_id):
            self._claims.drop(claim)
        before = self._organizations.get(organization_id)
        after = self._organizations.change(organization_id, lambda current: current and erase(current))
        if after is not None and before is not None and before.state is not State.UNINSTALLED:
            self._announce(signals.app_uninstalled, after)
        return after

    def _claim(self, call: Installed) -> Claim:
        now = self._clock()
        parts = (call.organization_id, call.shared_secret, call.user_id or "", call.subdomain or "")
        return Claim(
            organization_id=call.organization_id,
            shared_secret=call.shared_secret,
            digest=self._digest(*parts),
            user_id=call.user_id,
            subdomain=call.subdomain,
            received_at=now,
            ask_at=now,
        )

    def _install(self, claim: Claim, asked_at: float) -> bool:
        """Put a proven claim in force, unless another was proven since ``asked_at``."""
        now = self._clock()
        window = self._config.previous_secret_window

        overtaken = False

        def transition(current: Organization | None) -> Organization | None:
            nonlocal overtaken
            overtaken = current is not None and current.is_active and current.proven_at > asked_at
            return current if overtaken else prove(current, claim, now=now, window=window)

        after = self._organizations.change(claim.organization_id, transition)
        if after is None or after.shared_secret != claim.shared_secret:
            return False
        self._claims.drop(claim)
        if not overtaken:  # else the same install was proven at the same time, and told of
            logger.info("Organization %s is installed.", claim.organization_id)
            self._announce(signals.app_installed, after)
        return True

    def _trust_first(self, claim: Claim) -> None:
        """``ORBRO_INSTALL_PROOF = "none"``: the first install is trusted, a different secret never."""
        stored = self._organizations.get(claim.organization_id)
        bound = self._organizations.bound_to(claim.subdomain) if claim.subdomain else None
        known = stored is not None and stored.shared_secret not in (None, claim.shared_secret)
        if known or (stored is not None and stored.is_active):
            logger.warning("A second install of %s is ignored.", claim.organization_id)
        elif bound is not None and bound.organization_id != claim.organization_id:
            logger.warning("An install of %s for a subdomain in use is ignored.", claim.organization_id)
        else:
            self._install(claim, self._clock())

    def _known(self, organization_id: str) -> Organization | None:
        organization = self._organizations.get(organization_id)
        if organization is None and not self._claims.of_organization(organization_id):
            raise NotFound("No such organization has installed this app.", reason="unknown_organization")
        return organization
