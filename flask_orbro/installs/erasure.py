"""Forgetting an organization: all that is kept about it, now or when its retention ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from blinker import NamedSignal
from sqlalchemy.orm import Session

from .. import signals
from ..installation import Organization, State, erase
from ..logs import get_logger
from ..stores.claims import ClaimStore
from ..stores.organizations import OrganizationStore
from ..stores.transactions import in_transaction

logger = get_logger(__name__)

#: When an erasure that a receiver has not taken part in is tried again, in seconds.
TRY_AGAIN = 3600.0
#: Deletes what is kept of one kind about an organization, and tells how many.
Eraser = Callable[[str], int]


class Erasure:
    """:param also: what else is kept about an organization, by what it is called.
    :param retention: seconds that a tombstone and what belongs to it are kept.
    :param patience: seconds more while an install of it waits, which may have been sent by anybody.
    :param announce: sends a signal about an organization, after commit, and tells whether no receiver has
        raised; it never raises itself.
    """

    def __init__(
        self,
        *,
        organizations: OrganizationStore,
        claims: ClaimStore,
        also: Mapping[str, Eraser],
        retention: float,
        patience: float,
        clock: Callable[[], float],
        announce: Callable[[NamedSignal, Organization], bool],
    ) -> None:
        self._organizations = organizations
        self._claims = claims
        self._also = also
        self._retention = retention
        self._patience = patience
        self._clock = clock
        self._announce = announce

    def erase(self, organization_id: str) -> dict[str, int]:
        """Forget an organization at once, whatever its state; where it was installed, that is signalled.

        :returns: how many of each kind are gone.
        """
        sessions = self._organizations.sessions
        return in_transaction(sessions, lambda session: self.erase_in(session, organization_id))()

    def erase_in(self, session: Session, organization_id: str) -> Callable[[], dict[str, int]]:
        """As :meth:`erase`, in a transaction of the caller's.

        What it leaves is a tombstone whose retention has ended: should the process die before the rest is
        done, a sweep does it.

        :returns: what is left to do once that is committed.
        """
        found: list[Organization | None] = []

        def bury(current: Organization | None) -> Organization | None:
            found[:] = [current]
            return None if current is None else replace(erase(current, self._clock()), uninstalled_at=0)

        self._organizations.change_in(session, organization_id, bury)
        dropped = self._claims.drop_all_in(session, organization_id)
        before = found[0]
        gone = {"organization": int(before is not None), "waiting installs": dropped}

        def finish() -> dict[str, int]:
            self._organizations.tell()
            also = self._erase_also(organization_id)
            if before is not None and before.state is not State.UNINSTALLED:
                self._announce(signals.app_uninstalled, erase(before, self._clock()))
            self._forget(before or Organization(organization_id, State.UNINSTALLED))
            return gone | also

        return finish

    def sweep(self) -> float | None:
        """Forget the organizations whose retention has ended.

        :returns: when the next one's ends, or ``None`` where there is none.
        """
        ended = self._clock() - self._retention
        in_any_case = ended - self._patience
        for tombstone in self._organizations.tombstones(ended, in_any_case=in_any_case):
            self._end_retention(tombstone.organization_id, in_any_case)
        free = self._organizations.oldest_tombstone(waits=False)
        oldest = self._organizations.oldest_tombstone(waits=True)
        ends = [] if free is None else [free + self._retention]
        ends += [] if oldest is None else [oldest + self._retention + self._patience]
        return min(ends, default=None)

    def _end_retention(self, organization_id: str, in_any_case: float) -> None:
        tombstone = self._organizations.get(organization_id)
        if tombstone is None or tombstone.uninstalled_at is None:
            return
        if tombstone.uninstalled_at >= in_any_case and self._claims.of_organization(organization_id):
            return  # it may be installing the app again just now
        self._erase_also(organization_id)
        self._forget(tombstone)

    def _forget(self, organization: Organization) -> None:
        """Have the app forget it too. The tombstone goes last, for it is what a sweep finds the rest by."""
        organization_id = organization.organization_id
        if not self._announce(signals.app_erased, erase(organization, self._clock())):
            logger.error(
                "Organization %s is not wholly erased; it is tried again in an hour.", organization_id
            )
            self._organizations.change(organization_id, self._later)
            return
        in_transaction(
            self._organizations.sessions,
            lambda session: self._organizations.delete_in(session, organization_id, State.UNINSTALLED),
        )
        self._organizations.tell()
        logger.info("What was kept about organization %s is erased.", organization_id)

    def _later(self, current: Organization | None) -> Organization | None:
        if current is None or current.state is not State.UNINSTALLED:
            return current
        return replace(current, uninstalled_at=self._clock() - self._retention + TRY_AGAIN)

    def _erase_also(self, organization_id: str) -> dict[str, int]:
        return {kind: eraser(organization_id) for kind, eraser in self._also.items()}
