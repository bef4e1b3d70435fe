"""Who installed the app, and what it takes to be believed: pure transitions over frozen records.

A lifecycle call carries no signature, so it is a :class:`Claim` or a request, and only the
platform's answer to a freshly minted token changes an :class:`Organization`:

======================  ==========================================================================
state                   meaning
======================  ==========================================================================
pending                 known, never proven
active                  proven
suspended               an uninstall was asked for, and the platform has refused the secret once
uninstalled             refused again after the grace: the secret is erased
======================  ==========================================================================

Times are seconds since the epoch, and always a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from .schedule import ASK_AGAIN, NEEDED_GAP, ask_gap, needed_at
from .verdicts import Outcome

#: How long a remembered uninstall is asked about while the platform still accepts the secret (seconds).
UNINSTALL_MEMORY = 3600


class State(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    UNINSTALLED = "uninstalled"


@dataclass(frozen=True)
class Claim:
    """An install that somebody sent and nobody has proven yet.

    :param digest: a keyed hash of what is claimed; the same claim twice is one.
    :param asked: how many times the platform was asked.
    :param refused: how many times its answer was anything but yes.
    :param ask_at: when to ask again.
    """

    organization_id: str
    shared_secret: str = field(repr=False)
    digest: str
    user_id: str | None
    subdomain: str | None
    received_at: float
    asked: int = 0
    refused: int = 0
    ask_at: float = 0


@dataclass(frozen=True)
class OrganizationInfo:
    """An organization without its secrets.

    :param subdomain: while it is proven, else ``None``.
    :param enabled: what the platform last said; ``None``: nothing.
    """

    organization_id: str
    state: State
    subdomain: str | None
    installed_user_id: str | None
    enabled: bool | None


@dataclass(frozen=True)
class Organization:
    """An organization that has installed the app.

    :param bound_subdomain: the subdomain it is found by; ``None`` while that is not proven.
    :param subdomain: the subdomain last proven, kept to ask at.
    :param binding_proven_at: when the platform last accepted the secret at that subdomain.
    :param uninstall_requested_at: an uninstall is remembered, and not proven.
    :param refused_at: when the platform first refused the secret after that request.
    :param ask_at: when to ask about the stored secret again; ``None``: only on use.
    :param enabled: what the platform last said; ``None``: nothing.
    :param approved: it counts on an operator's word, and the platform is not asked about it.
    :param uninstalled_at: when its secrets were erased; what else is kept goes after the retention.
    :param last_seen_at: when a caller or a delivery was last let in, to some minutes.
    """

    organization_id: str
    state: State
    shared_secret: str | None = field(default=None, repr=False)
    subdomain: str | None = None
    bound_subdomain: str | None = None
    installed_user_id: str | None = None
    previous_secret: str | None = field(default=None, repr=False)
    previous_secret_until: float = 0
    proven_at: float = 0
    binding_proven_at: float = 0
    uninstall_requested_at: float | None = None
    refused_at: float | None = None
    asked: int = 0
    ask_at: float | None = None
    enabled: bool | None = None
    approved: bool = False
    uninstalled_at: float | None = None
    last_seen_at: float | None = field(default=None, compare=False)
    version: int = 0

    @property
    def info(self) -> OrganizationInfo:
        """What views and signal receivers get to see."""
        return OrganizationInfo(
            self.organization_id,
            self.state,
            self.bound_subdomain,
            self.installed_user_id,
            self.enabled,
        )

    @property
    def is_active(self) -> bool:
        return self.state is State.ACTIVE and self.shared_secret is not None

    def webhook_secrets(self, now: float) -> tuple[str, ...]:
        """The secrets a webhook may be signed with at this moment: none unless active."""
        if self.state is not State.ACTIVE or self.shared_secret is None:
            return ()
        if self.previous_secret is not None and now < self.previous_secret_until:
            return (self.shared_secret, self.previous_secret)
        return (self.shared_secret,)


def is_due(organization: Organization, now: float) -> bool:
    """Whether a question about the stored secret is due."""
    return organization.ask_at is not None and now >= organization.ask_at


def matches(organization: Organization | None, claim: Claim) -> bool:
    """Whether a claim says only what is proven already."""
    return (
        organization is not None
        and organization.is_active
        and organization.uninstall_requested_at is None
        and organization.bound_subdomain is not None
        and claim.shared_secret == organization.shared_secret
        and claim.subdomain in (None, organization.bound_subdomain)
        and claim.user_id in (None, organization.installed_user_id)
    )


def add(organization: Organization | None, claim: Claim) -> Organization:
    """The organization after the app's own code has told of an install: it waits to be proven.

    Nothing changes in one that was.
    """
    if organization is not None and organization.state in (State.ACTIVE, State.SUSPENDED):
        return organization
    return Organization(
        claim.organization_id,
        State.PENDING,
        shared_secret=claim.shared_secret,
        subdomain=claim.subdomain,
        installed_user_id=claim.user_id,
        ask_at=claim.ask_at,
        version=organization.version if organization else 0,
    )


def claim_asked(claim: Claim, outcome: Outcome, now: float) -> Claim:
    """A claim after the platform was asked and did not accept it."""
    asked = claim.asked + 1
    answered_no = outcome in (Outcome.REFUSED, Outcome.FOREIGN, Outcome.UNDECIDED)
    refused = claim.refused + answered_no
    return replace(claim, asked=asked, refused=refused, ask_at=now + ask_gap(asked))


def prove(organization: Organization | None, claim: Claim, *, now: float, window: float) -> Organization:
    """The organization after the platform has accepted a claim.

    :param window: for how long the secret it replaces stays good for webhooks, in seconds.
    """
    known = organization or Organization(claim.organization_id, State.PENDING)
    subdomain = claim.subdomain or known.subdomain
    previous, until = None, 0.0
    if known.is_active:
        previous, until = known.previous_secret, known.previous_secret_until
        if known.shared_secret != claim.shared_secret:
            previous, until = known.shared_secret, now + window
    return replace(
        known,
        state=State.ACTIVE,
        shared_secret=claim.shared_secret,
        subdomain=subdomain,
        bound_subdomain=subdomain,
        installed_user_id=claim.user_id or known.installed_user_id,
        previous_secret=previous,
        previous_secret_until=until,
        proven_at=now,
        binding_proven_at=now,
        uninstall_requested_at=None,
        refused_at=None,
        asked=0,
        # When the window ends the previous secret is erased, on that occasion.
        ask_at=until if previous is not None else None,
        enabled=None,
        uninstalled_at=None,
    )


def request_uninstall(organization: Organization, now: float) -> Organization:
    """Remember an uninstall. Nothing else changes before the platform refuses the secret.

    A repeated request is asked about anew, for the one before may have been forged; but not at once,
    for anybody can repeat it.
    """
    if organization.state not in (State.ACTIVE, State.PENDING):
        return organization
    if organization.uninstall_requested_at is None:
        return replace(organization, uninstall_requested_at=now, refused_at=None, asked=0, ask_at=now)
    ask_at = max(now, needed_at(organization.asked, organization.ask_at))
    again = replace(organization, asked=2, ask_at=ask_at)
    if again == organization and now < organization.uninstall_requested_at + NEEDED_GAP:
        return organization  # and as many requests are not as many changes
    return replace(again, uninstall_requested_at=now)


def judge(organization: Organization, outcome: Outcome, *, now: float, grace: float) -> Organization:
    """The organization after the platform was asked about its *stored* secret.

    One that is pending, as the old SDK or the app's own code has left it, becomes active on the first
    acceptance.

    :param outcome: the answer to a freshly minted token, never one from a cache.
    :param grace: seconds between the first and the second refusal that prove an uninstall.
    """
    if organization.state is State.UNINSTALLED:
        return organization
    asked = organization.asked + 1
    waiting = replace(organization, asked=asked, ask_at=now + ask_gap(asked))
    if now >= waiting.previous_secret_until:
        waiting = replace(waiting, previous_secret=None, previous_secret_until=0)
    if outcome is Outcome.ACCEPTED:
        return _accepted(waiting, now)
    if outcome in (Outcome.REFUSED, Outcome.FOREIGN):
        waiting = replace(waiting, bound_subdomain=None)
    if organization.state is State.PENDING and organization.uninstall_requested_at is None:
        return _still_pending(waiting, outcome, now)
    if organization.uninstall_requested_at is None or outcome is not Outcome.REFUSED:
        return waiting
    refused_at = now if organization.refused_at is None else organization.refused_at
    if organization.refused_at is None or now < refused_at + grace:
        # Asked about in between too, for an acceptance restores it.
        ask_at = min(now + ask_gap(asked), refused_at + grace)
        return replace(waiting, state=State.SUSPENDED, refused_at=refused_at, ask_at=ask_at)
    return erase(waiting, now)


def _still_pending(waiting: Organization, outcome: Outcome, now: float) -> Organization:
    if outcome in (Outcome.REFUSED, Outcome.FOREIGN, Outcome.UNDECIDED):
        waiting = replace(waiting, refused_at=now)  # it has answered, and not with yes
    # At the end of the schedule it is asked about on use alone: it may have been dead for years.
    return replace(waiting, ask_at=None) if waiting.asked >= len(ASK_AGAIN) else waiting


def _accepted(waiting: Organization, now: float) -> Organization:
    requested = waiting.uninstall_requested_at
    remembered = requested is not None and now < requested + UNINSTALL_MEMORY
    due = waiting.ask_at if remembered else None
    if waiting.previous_secret is not None:
        due = min(due or waiting.previous_secret_until, waiting.previous_secret_until)
    return replace(
        waiting,
        state=State.ACTIVE,
        bound_subdomain=waiting.subdomain,
        proven_at=waiting.proven_at or now,
        binding_proven_at=now,
        refused_at=None,
        uninstall_requested_at=requested if remembered else None,
        asked=waiting.asked if remembered else 0,
        ask_at=due,
    )


def without_questions(organization: Organization, now: float) -> Organization:
    """An organization that nobody can be asked about: nothing is due but that its old secret goes."""
    if now < organization.previous_secret_until:
        return replace(organization, ask_at=organization.previous_secret_until)
    return replace(organization, previous_secret=None, previous_secret_until=0, ask_at=None)


def suspend(organization: Organization | None) -> Organization | None:
    """An active organization that is let do nothing, and keeps its secret."""
    if organization is None or not organization.is_active:
        return organization
    return replace(organization, state=State.SUSPENDED, bound_subdomain=None)


def erase(organization: Organization, now: float) -> Organization:
    """A tombstone: the secrets are gone."""
    return replace(
        organization,
        state=State.UNINSTALLED,
        shared_secret=None,
        previous_secret=None,
        previous_secret_until=0,
        bound_subdomain=None,
        approved=False,
        ask_at=None,
        uninstalled_at=now if organization.uninstalled_at is None else organization.uninstalled_at,
    )
