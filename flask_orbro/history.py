"""What has become of an organization: the lines of its history."""

from __future__ import annotations

from dataclasses import dataclass

from .installation import Organization, State


@dataclass(frozen=True)
class StateChange:
    """A line of an organization's history.

    :param at: seconds since the epoch.
    :param before: ``None`` where it was not known.
    :param why: a few words.
    """

    at: float
    before: State | None
    after: State
    why: str


def what_happened(before: Organization | None, after: Organization) -> str | None:
    """Why the state of an organization is another, in a few words; ``None`` where it is not."""
    if after.proven_at > (before.proven_at if before else 0):
        if after.approved:
            return "approved by an operator"
        return "installed again" if before is not None and before.is_active else "installed"
    if before is not None and before.state is after.state:
        return None
    return {
        State.PENDING: "added by the app",
        State.ACTIVE: "accepted again",
        State.SUSPENDED: "uninstall asked for" if after.refused_at is None else "refused",
        State.UNINSTALLED: "removed" if after.refused_at is None else "refused again",
    }[after.state]
