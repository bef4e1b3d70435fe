"""Claims in SQL: installs that wait for the platform's word. Bounded in number and age."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from ..installation import Claim
from ..models import Models
from .records import Records
from .transactions import LEASE, UNREADABLE, Conflict, SessionFactory, in_transaction, leased, same_text

#: So many of the oldest count as more than their number: anybody can send younger ones.
OLDEST = 2


class ClaimStore:
    """:param sessions: makes a new SQLAlchemy session.
    :param in_all: claims kept, in all.
    :param per_organization: claims kept for one organization.
    :param max_age: how long a claim is kept, in seconds.
    :param lease: how long what is due is left to the process that asks about it, in seconds.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        models: Models,
        records: Records,
        *,
        in_all: int,
        per_organization: int,
        max_age: float,
        lease: float = LEASE,
    ) -> None:
        self._sessions = sessions
        self._table = models.claim.__table__
        self._records = records
        self._in_all = in_all
        self._per_organization = per_organization
        self._max_age = max_age
        self._lease = lease

    def get(self, organization_id: str, digest: str) -> Claim | None:
        """One waiting claim, as it is now."""
        found = self._select(self._same(organization_id, digest), limit=1)
        return found[0] if found else None

    def of_organization(self, organization_id: str) -> list[Claim]:
        """Waiting claims of one organization, newest first."""
        condition = same_text(self._table.c.organization_id, organization_id)
        # Writers that are at it at the same time may leave a few too many.
        found = self._select(condition, limit=2 * self._per_organization, order=-self._table.c.id)
        return [item for item in found if item.organization_id == organization_id]

    def of_subdomain(self, subdomain: str, limit: int = 4) -> list[Claim]:
        """Waiting claims of a subdomain: the oldest, then the least refused."""
        condition = same_text(self._table.c.subdomain, subdomain)
        oldest = self._select(condition, limit=OLDEST, order=self._table.c.id)
        least_refused = self._select(condition, limit=limit, order=self._table.c.refused)
        others = [claim for claim in least_refused if claim not in oldest]
        return [*oldest, *others][:limit]

    def due(self, now: float, limit: int = 100) -> Iterator[Claim]:
        """Claims to ask about, longest waiting first; each is leased. One that cannot be read waits."""
        table = self._table
        is_due = table.c.ask_at <= now

        def as_read(row: Any) -> Any:
            return is_due & (table.c.id == row.id) & (table.c.asked == row.asked)

        found = self._rows(is_due, limit=limit, order=table.c.ask_at)
        for row in leased(self._sessions, table, found, as_read, now + self._lease):
            claim = self._records.claim(row)
            if claim is not None:
                yield claim
            else:
                self._update(table.c.id == row.id, ask_at=now + UNREADABLE)

    def next_due(self) -> float | None:
        """When the next question about a claim is due."""
        due: float | None = self._scalar(select(func.min(self._table.c.ask_at)))
        return due

    def count(self) -> int:
        """Claims waiting, in all."""
        return self._scalar(select(func.count()).select_from(self._table)) or 0

    def count_by_organization(self) -> dict[str, int]:
        """Claims waiting, by organization."""
        grouped = select(self._table.c.organization_id, func.count()).group_by(self._table.c.organization_id)
        rows = in_transaction(self._sessions, lambda session: list(session.execute(grouped)))
        return {row[0]: row[1] for row in rows}

    def add(self, claim: Claim) -> bool:
        """Keep a claim; one that waits already is kept as it is.

        Where there is no room, claims that were asked about in vain make it, most refused first, then
        those that name no subdomain, oldest first. The oldest of an organization that were never
        refused do not make room for others of the same organization.

        :returns: whether it waits now; ``False`` where there is no room, or too many fight for it.
        """
        try:
            return in_transaction(self._sessions, lambda session: self.add_in(session, claim))
        except Conflict:
            return False

    def save(self, claim: Claim) -> None:
        """Keep how often a claim was asked about."""
        same = self._same(claim.organization_id, claim.digest)
        self._update(same, asked=claim.asked, refused=claim.refused, ask_at=claim.ask_at)

    def drop(self, claim: Claim) -> None:
        """Forget a claim that is proven, or that an operator removes."""
        same = self._same(claim.organization_id, claim.digest)
        in_transaction(self._sessions, lambda session: session.execute(delete(self._table).where(same)))

    def drop_all_in(self, session: Session, organization_id: str) -> int:
        """Forget every claim of an organization in a transaction of the caller's.

        :returns: how many.
        """
        own = same_text(self._table.c.organization_id, organization_id)
        result: Any = session.execute(delete(self._table).where(own))
        dropped: int = result.rowcount
        return dropped

    def drop_old(self, now: float) -> None:
        """Forget claims past their age."""
        in_transaction(self._sessions, lambda session: self._drop_old(session, now))

    def add_in(self, session: Session, claim: Claim) -> bool:
        """As :meth:`add`, in a transaction of the caller's."""
        self._drop_old(session, claim.received_at)
        if session.scalar(select(self._table.c.id).where(self._same(claim.organization_id, claim.digest))):
            return True
        own = self._table.c.organization_id == claim.organization_id
        if not self._room(session, own, self._per_organization):
            return False
        if not self._room(session, None, self._in_all):
            return False
        session.execute(insert(self._table).values(self._records.values_of_claim(claim)))
        return True

    def _drop_old(self, session: Session, now: float) -> None:
        session.execute(delete(self._table).where(self._table.c.received_at < now - self._max_age))

    def _room(self, session: Session, own: Any, most: int) -> bool:
        """Whether one more has room, once those are gone that make it.

        Writers that are at it at the same time do not see each other's: there may be as many too many as
        there are of them, until the next one comes.

        :param own: the condition that a claim is of the organization in question; ``None``: of any.
        :raises Conflict: where another writer has evicted the same.
        """
        table = self._table
        counted = select(func.count()).select_from(table)
        # One that was asked about in vain, or that names no subdomain: whoever sends a genuine one again is
        # better served by room than by a full house.
        evictable = select(table.c.id).where((table.c.asked > 0) | table.c.subdomain.is_(None))
        if own is not None:
            counted = counted.where(own)
            # A fault is no refusal: in an outage what came first is not lost to whoever comes later.
            first = select(table.c.id).where(own, table.c.refused == 0).order_by(table.c.id).limit(OLDEST)
            evictable = evictable.where(own, table.c.id.not_in(session.scalars(first).all()))
        excess = (session.scalar(counted) or 0) + 1 - most
        if excess <= 0:
            return True
        order = (table.c.refused.desc(), table.c.subdomain.is_(None).desc(), table.c.asked.desc(), table.c.id)
        victims = session.scalars(evictable.order_by(*order).limit(excess)).all()
        gone: Any = session.execute(delete(table).where(table.c.id.in_(victims)))
        if gone.rowcount != len(victims):
            raise Conflict
        return len(victims) == excess

    def _same(self, organization_id: str, digest: str) -> Any:
        return same_text(self._table.c.organization_id, organization_id) & (self._table.c.digest == digest)

    def _select(self, condition: Any, *, limit: int, order: Any = None) -> list[Claim]:
        rows = self._rows(condition, limit=limit, order=order)
        return [claim for claim in map(self._records.claim, rows) if claim is not None]

    def _rows(self, condition: Any, *, limit: int, order: Any = None) -> list[Any]:
        query = select(self._table).where(condition).limit(limit)
        if order is not None:
            query = query.order_by(order, self._table.c.id)
        return in_transaction(self._sessions, lambda session: list(session.execute(query)))

    def _update(self, condition: Any, **values: Any) -> None:
        statement = update(self._table).where(condition).values(values)
        in_transaction(self._sessions, lambda session: session.execute(statement))

    def _scalar(self, query: Any) -> Any:
        return in_transaction(self._sessions, lambda session: session.scalar(query))
