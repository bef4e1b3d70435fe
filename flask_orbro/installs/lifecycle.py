"""Installs and uninstalls, as the platform or somebody else tells of them.

A lifecycle call is unauthenticated, so it changes nothing by itself: it leaves a claim or a request,
and the platform's own word decides (:mod:`.inquiry`). What an operator says counts at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from blinker import NamedSignal

from .. import signals
from ..config import Config
from ..crypto import KeyedHash
from ..errors import NotFound, ServiceUnavailable
from ..http.forks import anew_after_fork
from ..installation import (
    Claim,
    Organization,
    State,
    claim_asked,
    erase,
    is_due,
    matches,
    request_uninstall,
    suspend,
)
from ..logs import get_logger
from ..schedule import may_ask
from ..stores.claims import ClaimStore
from ..stores.organizations import OrganizationStore
from ..verdicts import Outcome
from .inquiry import Inquiry

logger = get_logger(__name__)

#: Calls of a process that wait for their turn, at most, where their claims have no room.
QUEUE = 64


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an ``installed`` call says."""

    organization_id: str
    shared_secret: str = field(repr=False)
    user_id: str | None = None
    subdomain: str | None = None


class Lifecycle:
    """:param announce: sends a signal about an organization, after commit; it never raises.
    :param asks_later: called when there is something to ask about later.
    """

    def __init__(
        self,
        *,
        config: Config,
        organizations: OrganizationStore,
        claims: ClaimStore,
        inquiry: Inquiry,
        digest: KeyedHash,
        clock: Callable[[], float],
        announce: Callable[[NamedSignal, Organization], None],
        asks_later: Callable[[], None],
    ) -> None:
        self._config = config
        self._organizations = organizations
        self._claims = claims
        self._inquiry = inquiry
        self._digest = digest
        self._clock = clock
        self._announce = announce
        self._asks_later = asks_later
        anew_after_fork(self)

    def start_anew(self) -> None:
        """Forget who waits: in a forked child nobody does."""
        self._queue = threading.BoundedSemaphore(QUEUE)

    # What the platform, or somebody else, says.

    def installed(self, call: Installed) -> None:
        """Take an install as a claim and ask about it at once.

        :raises ServiceUnavailable: where it is not proven and there is no room for it to wait.
        """
        claim = self.claim(call)
        if matches(self._organizations.get(call.organization_id), claim):
            return
        if self._config.install_proof == "none":
            self._trust_first(claim)
            return
        kept = self._claims.add(claim)
        waiting = self._claims.get(claim.organization_id, claim.digest) if kept else None
        claim = waiting or claim
        # Anybody can repeat an install: that is not one more question each time.
        asks = may_ask(claim.asked, claim.ask_at, self._clock())
        if asks and self._inquiry.prove(claim) is Outcome.ACCEPTED:
            return
        if not kept and not self._waited_for_room(claim):
            raise ServiceUnavailable(
                "Too many unproven installs wait; send it again later.",
                reason="claims_full",
                retry_after=60,
            )
        self._asks_later()

    def _waited_for_room(self, claim: Claim) -> bool:
        """Whether a claim is proven, or kept, after its call has waited in a queue.

        So a genuine install gets through a flood, without being sent again. The queue is bounded, and so
        is the time; and while the platform hangs nobody waits, for the threads are for callers who are
        somebody. Who is told to send it again was promised nothing.
        """
        if self._inquiry.platform_hangs:
            return False
        queue = self._queue
        if not queue.acquire(blocking=False):
            return False
        try:
            return self._proven_or_kept(claim)
        finally:
            queue.release()

    def _proven_or_kept(self, claim: Claim) -> bool:
        wait = self._config.proof_timeout
        until = time.monotonic() + 2 * wait
        outcome = self._inquiry.prove(claim, wait=wait)
        if outcome is Outcome.ACCEPTED:
            return True
        if outcome is not None:
            claim = claim_asked(claim, outcome, self._clock())
        # One that is asked about in vain makes room.
        for other in self._claims.of_organization(claim.organization_id):
            if self._claims.add(claim):
                return True
            if time.monotonic() > until or self._inquiry.platform_hangs:
                return False
            self._inquiry.prove(other, wait=wait)
        return self._claims.add(claim)

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
        if organization.approved:
            logger.warning(
                "An uninstall of %s is ignored, for an operator has approved it. If it is meant: "
                "'flask orbro organizations remove'.",
                organization_id,
            )
            return
        now = self._clock()
        after = self._organizations.change(
            organization_id, lambda current: current and request_uninstall(current, now)
        )
        if after is not None and after.state is State.ACTIVE and is_due(after, now):
            self._inquiry.check(after)
        self._asks_later()

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

    # The operator's way out.

    def waiting(self, organization_id: str) -> list[Claim]:
        """What an operator can approve: the claims that wait, and what a pending organization came with."""
        stored = self._organizations.get(organization_id)
        found = self._claims.of_organization(organization_id)
        if stored is None or stored.state is not State.PENDING or stored.shared_secret is None:
            return found
        came_with = Installed(
            organization_id=organization_id,
            shared_secret=stored.shared_secret,
            user_id=stored.installed_user_id,
            subdomain=stored.subdomain,
        )
        return [*found, self.claim(came_with)]

    def approve(self, claim: Claim, *, subdomain: str | None = None) -> Organization | None:
        """Trust a claim on an operator's word.

        :param subdomain: where the claim names none.
        """
        named = replace(claim, subdomain=claim.subdomain or subdomain)
        self._inquiry.install(named, self._organizations.get(claim.organization_id), approved=True)
        return self._organizations.get(claim.organization_id)

    def remove(self, organization_id: str) -> Organization | None:
        """Uninstall on an operator's word: the secret is erased, a tombstone stays, claims go.

        :returns: the organization as it is then, or ``None`` where it is not known.
        """
        for claim in self._claims.of_organization(organization_id):
            self._claims.drop(claim)
        before, now = self._organizations.get(organization_id), self._clock()
        after = self._organizations.change(organization_id, lambda current: current and erase(current, now))
        if after is not None and before is not None and before.state is not State.UNINSTALLED:
            self._announce(signals.app_uninstalled, after)
        return after

    def claim(self, call: Installed) -> Claim:
        """What an ``installed`` call claims, before anybody was asked about it."""
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

    def _trust_first(self, claim: Claim) -> None:
        """``ORBRO_INSTALL_PROOF = "none"``: the first install is trusted, a different secret never."""
        stored = self._organizations.get(claim.organization_id)
        known = stored is not None and stored.shared_secret not in (None, claim.shared_secret)
        if known or (stored is not None and stored.is_active):
            logger.warning("A second install of %s is ignored.", claim.organization_id)
        elif not self._inquiry.install(claim, stored, takes_subdomain=False):
            logger.warning("An install of %s for a subdomain in use is ignored.", claim.organization_id)

    def _known(self, organization_id: str) -> Organization | None:
        organization = self._organizations.get(organization_id)
        if organization is None and not self._claims.of_organization(organization_id):
            raise NotFound("No such organization has installed this app.", reason="unknown_organization")
        return organization
