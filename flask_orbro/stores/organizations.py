"""Organizations in SQL: read as frozen records, changed by pure transitions.

Every method opens its own session and closes it before it returns, so no connection is held while
the network is waited for, and none is shared between requests or threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from ..history import StateChange, what_happened
from ..installation import Organization, State
from ..models import Models
from .records import ORGANIZATION_COLUMNS, Records
from .transactions import LEASE, Conflict, SessionFactory, in_transaction, leased, same_text

Transition = Callable[[Organization | None], Organization | None]


class OrganizationStore:
    """:param sessions: makes a new SQLAlchemy session.
    :param clock: seconds since the epoch, for the history.
    :param lease: how long what is due is left to the process that asks about it, in seconds.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        models: Models,
        records: Records,
        clock: Callable[[], float] = time.time,
        *,
        lease: float = LEASE,
    ) -> None:
        self.sessions = sessions
        self._clock = clock
        self._lease = lease
        self._table = models.client_info.__table__
        self.columns = [self._table.c[name] for name in (*ORGANIZATION_COLUMNS, "id")]
        self._records = records
        claims = models.claim.__table__
        self._installs_wait = exists().where(claims.c.organization_id == self._table.c.organization_id)
        self._changed: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a listener after every change that this process makes."""
        self._changed.append(listener)

    def get(self, organization_id: str) -> Organization | None:
        """The organization in whatever state, or ``None``. One statement."""
        found = self._select(same_text(self._table.c.organization_id, organization_id), limit=1)
        # An engine that folds case would answer with a neighbour.
        return next((item for item in found if item.organization_id == organization_id), None)

    def bound_to(self, subdomain: str) -> Organization | None:
        """The organization whose proven subdomain this is. One statement."""
        found = self.holder_of(subdomain)
        return found if found is not None and found.is_active else None

    def holder_of(self, subdomain: str) -> Organization | None:
        """As :meth:`bound_to`, though its secret cannot be read."""
        found = self._select(same_text(self._table.c.bound_subdomain, subdomain), limit=1)
        return next(iter(found), None)

    def named(self, subdomain: str) -> list[Organization]:
        """Organizations that had this subdomain when last proven, bound or not."""
        return self._select(same_text(self._table.c.subdomain, subdomain), limit=10)

    def active_by_user(self, user_id: str) -> list[Organization]:
        """Active organizations that this user installed; two at most. One statement."""
        is_active = self._table.c.state == State.ACTIVE.value
        found = self._select(same_text(self._table.c.installed_user_id, user_id) & is_active, limit=2)
        return [item for item in found if item.installed_user_id == user_id]

    def of_user(self, user_id: str) -> Organization | None:
        """The active organization that this user installed, where it is the only one. One statement."""
        found = self.active_by_user(user_id)
        return found[0] if len(found) == 1 else None

    def due(self, now: float, limit: int = 100) -> Iterator[Organization]:
        """Organizations whose stored secret is to be asked about, longest waiting first; each is leased."""
        table = self._table
        is_due = table.c.ask_at <= now

        def as_read(item: Organization) -> Any:
            return (
                is_due & (table.c.organization_id == item.organization_id) & (table.c.version == item.version)
            )

        found = self._select(is_due, limit=limit, order=table.c.ask_at)
        # Another version: a change that was read before would write the old time back.
        return leased(self.sessions, table, found, as_read, now + self._lease, version=table.c.version + 1)

    def next_due(self) -> float | None:
        """When the next question about a stored secret is due."""
        query = select(self._table.c.ask_at).where(self._table.c.ask_at.is_not(None))
        due: float | None = self._scalar(query.order_by(self._table.c.ask_at).limit(1))
        return due

    def any_proven(self) -> bool:
        """Whether the platform has ever accepted the secret of any. One statement."""
        query = select(self._table.c.id).where(self._table.c.proven_at > 0).limit(1)
        return self._scalar(query) is not None

    def all(self, page: int = 500) -> Iterator[Organization]:
        """Every organization, read page by page."""
        last = 0
        while rows := self._rows(self._table.c.id > last, limit=page, order=self._table.c.id):
            last = rows[-1].id
            yield from map(self._records.organization, rows)

    def tombstones(self, before: float, *, in_any_case: float, limit: int = 100) -> list[Organization]:
        """Organizations uninstalled before a moment, longest ago first, for whom no install waits.

        :param in_any_case: those uninstalled before this, though one does: anybody can send them.
        """
        erased_at = self._table.c.uninstalled_at
        ends = ~self._installs_wait | (erased_at < in_any_case)
        return self._select((erased_at < before) & ends, limit=limit, order=erased_at)

    def oldest_tombstone(self, *, waits: bool) -> float | None:
        """When the organization was uninstalled that is longest so.

        :param waits: whether installs may wait for it.
        """
        erased_at = self._table.c.uninstalled_at
        tombstone = erased_at.is_not(None) if waits else erased_at.is_not(None) & ~self._installs_wait
        oldest: float | None = self._scalar(select(erased_at).where(tombstone).order_by(erased_at).limit(1))
        return oldest

    def put_off(self, organization_id: str, until: float) -> None:
        """Keep when to ask about what cannot be read. Nothing else of the row changes."""
        # Another version: a change that was read before would write the old time back.
        self._update(organization_id, ask_at=until, version=self._table.c.version + 1)

    def saw(self, organization_id: str, at: float) -> None:
        """Keep when an organization was last heard of. Nothing else of the row changes.

        It is tried once: a request waits meanwhile.
        """
        self._update(organization_id, within=0, last_seen_at=at)

    def change(
        self, organization_id: str, transition: Transition, *, takes_subdomain: bool = True
    ) -> Organization | None:
        """Apply a pure transition in one transaction; it may be called again where another writer was first.

        A subdomain that the result is bound to is taken from every other organization, and those are
        due to be asked about.

        :param takes_subdomain: ``False``: nothing changes instead, where another organization is known by it
            that is not uninstalled.
        :returns: the organization as it is then.
        """
        before: Organization | None = None

        def noted(current: Organization | None) -> Organization | None:
            nonlocal before
            before = current
            return transition(current)

        after = in_transaction(
            self.sessions,
            lambda session: self.change_in(session, organization_id, noted, takes_subdomain=takes_subdomain),
        )
        if after != before:
            self.tell()
        return after

    def tell(self) -> None:
        """Call the listeners: something has changed, and is committed."""
        for listener in self._changed:
            listener()

    def delete_in(
        self, session: Session, organization_id: str, only: State | None = None
    ) -> Organization | None:
        """Delete an organization in a transaction of the caller's, who tells of it then.

        :param only: delete it in this state alone.
        :returns: what it was, or ``None`` where there was nothing to delete.
        """
        which = same_text(self._table.c.organization_id, organization_id)
        if only is not None:
            which &= self._table.c.state == only.value
        row = session.execute(select(*self.columns).where(which).with_for_update()).first()
        if row is None or row.organization_id != organization_id:  # as in get()
            return None
        # Changed since: on an engine that locks no rows.
        same = (self._table.c.id == row.id) & (self._table.c.version == row.version)
        result: Any = session.execute(delete(self._table).where(same))
        if result.rowcount != 1:
            raise Conflict
        return self._records.organization(row)

    def change_in(
        self,
        session: Session,
        organization_id: str,
        transition: Transition,
        *,
        takes_subdomain: bool = True,
    ) -> Organization | None:
        """As :meth:`change`, in a transaction of the caller's, who tells of it then."""
        table = self._table
        query = select(*self.columns, table.c.history)
        query = query.where(same_text(table.c.organization_id, organization_id))
        row = session.execute(query.with_for_update()).first()
        if row is not None and row.organization_id != organization_id:  # as in get()
            row = None
        before = self._records.organization(row) if row else None
        after = transition(before)
        if after is None or after == before:
            return before
        after = replace(after, version=(before.version + 1) if before else 1)
        if after.bound_subdomain is not None:
            others = table.c.organization_id != organization_id
            if takes_subdomain:
                self._unbind(session, others & (table.c.bound_subdomain == after.bound_subdomain))
            elif self._is_known(session, others & (table.c.subdomain == after.bound_subdomain)):
                return before
        values = self._records.values_of(after, before, row)
        why = what_happened(before, after)
        if why is not None:
            change = StateChange(self._clock(), before.state if before else None, after.state, why)
            values |= self._records.values_of_history(row, change)
        if row is None or before is None:
            session.execute(insert(table).values(values))
        else:
            same = (table.c.id == row.id) & (table.c.version == before.version)
            result: Any = session.execute(update(table).where(same).values(values))
            if result.rowcount != 1:
                raise Conflict
        return after

    def _unbind(self, session: Session, which: Any) -> None:
        values = {"bound_subdomain": None, "ask_at": 0, "asked": 0, "version": self._table.c.version + 1}
        session.execute(update(self._table).where(which).values(values))

    def _is_known(self, session: Session, which: Any) -> bool:
        """Whether there is such an organization; the unique index decides between two who come at once."""
        query = select(self._table.c.id).where(which & (self._table.c.state != State.UNINSTALLED.value))
        return session.scalar(query.limit(1)) is not None

    def _select(self, condition: Any, *, limit: int, order: Any = None) -> list[Organization]:
        return [self._records.organization(row) for row in self._rows(condition, limit=limit, order=order)]

    def _rows(self, condition: Any, *, limit: int, order: Any = None) -> list[Any]:
        query = select(*self.columns).where(condition).limit(limit)
        if order is not None:
            query = query.order_by(order)
        return in_transaction(self.sessions, lambda session: list(session.execute(query)))

    def _update(self, organization_id: str, *, within: float = math.inf, **values: Any) -> None:
        table = self._table
        statement = update(table).where(table.c.organization_id == organization_id)
        statement = statement.values(values | {"updated_time": table.c.updated_time})
        in_transaction(self.sessions, lambda session: session.execute(statement), within=within)

    def _scalar(self, query: Any) -> Any:
        return in_transaction(self.sessions, lambda session: session.scalar(query))
