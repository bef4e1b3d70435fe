"""Organizations in SQL: read as frozen records, changed by pure transitions.

Every method opens its own session and closes it before it returns, so no connection is held while
the network is waited for, and none is shared between requests or threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from ..installation import Organization, State
from ..models import Models

SessionFactory = Callable[[], Session]
Transition = Callable[[Organization | None], Organization | None]

#: Attempts at a change that another writer gets ahead of.
ATTEMPTS = 12


class Conflict(Exception):
    """Another writer was first; the change is tried anew."""


T = TypeVar("T")


def in_transaction(sessions: SessionFactory, work: Callable[[Session], T]) -> T:
    """Do some work in a transaction, and do it again where another writer was first, or in its way.

    :raises sqlalchemy.exc.OperationalError: where the database is out of reach, or stays busy.
    """
    for attempt in range(ATTEMPTS):
        try:
            with sessions() as session, session.begin():
                return work(session)
        except (Conflict, StatementError) as error:
            if isinstance(error, StatementError):
                error.hide_parameters = True  # they hold secrets, and errors are logged
            if not isinstance(error, Conflict | IntegrityError | OperationalError):
                raise
            if attempt == ATTEMPTS - 1 or getattr(error, "connection_invalidated", False):
                raise
            time.sleep(0.005 * 2 ** min(attempt, 5))
    raise AssertionError("unreachable")


class OrganizationStore:
    """:param sessions: makes a new SQLAlchemy session."""

    def __init__(self, sessions: SessionFactory, models: Models) -> None:
        self._sessions = sessions
        self._table = models.client_info.__table__
        self._changed: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a listener after every change that this process makes."""
        self._changed.append(listener)

    def get(self, organization_id: str) -> Organization | None:
        """The organization in whatever state, or ``None``. One statement."""
        found = self._select(self._table.c.organization_id == organization_id, limit=1)
        # An engine that folds case would answer with a neighbour.
        return next((item for item in found if item.organization_id == organization_id), None)

    def bound_to(self, subdomain: str) -> Organization | None:
        """The organization whose proven subdomain this is. One statement."""
        found = self._select(self._table.c.bound_subdomain == subdomain, limit=1)
        return next((item for item in found if item.is_active), None)

    def named(self, subdomain: str) -> list[Organization]:
        """Organizations that had this subdomain when last proven, bound or not."""
        return self._select(self._table.c.subdomain == subdomain, limit=10)

    def active_by_user(self, user_id: str) -> list[Organization]:
        """Active organizations that this user installed; two at most. One statement."""
        condition = (self._table.c.installed_user_id == user_id) & (self._table.c.state == State.ACTIVE.value)
        found = self._select(condition, limit=2)
        return [item for item in found if item.installed_user_id == user_id]

    def due(self, now: float, limit: int = 100) -> list[Organization]:
        """Organizations whose stored secret is to be asked about, longest waiting first."""
        return self._select(self._table.c.ask_at <= now, limit=limit, order=self._table.c.ask_at)

    def next_due(self) -> float | None:
        """When the next question about a stored secret is due."""
        with self._sessions() as session:
            query = select(self._table.c.ask_at).where(self._table.c.ask_at.is_not(None))
            due: float | None = session.scalar(query.order_by(self._table.c.ask_at).limit(1))
            return due

    def any_proven(self) -> bool:
        """Whether the platform has ever accepted the secret of any. One statement."""
        with self._sessions() as session:
            query = select(self._table.c.id).where(self._table.c.proven_at > 0).limit(1)
            return session.scalar(query) is not None

    def all(self, page: int = 500) -> Iterator[Organization]:
        """Every organization, read page by page."""
        last = 0
        while True:
            with self._sessions() as session:
                query = select(self._table).where(self._table.c.id > last)
                rows = session.execute(query.order_by(self._table.c.id).limit(page)).all()
            if not rows:
                return
            last = rows[-1].id
            yield from map(_organization, rows)

    def change(self, organization_id: str, transition: Transition) -> Organization | None:
        """Apply a pure transition in one transaction; it may be called again where another writer was first.

        A subdomain that the result is bound to is taken from every other organization, and those are
        due to be asked about.

        :returns: the organization as it is then.
        """
        after = in_transaction(
            self._sessions, lambda session: self._change(session, organization_id, transition)
        )
        for listener in self._changed:
            listener()
        return after

    def _change(self, session: Session, organization_id: str, transition: Transition) -> Organization | None:
        table = self._table
        query = select(table).where(table.c.organization_id == organization_id)
        row = session.execute(query.with_for_update()).first()
        before = _organization(row) if row else None
        after = transition(before)
        if after is None or after == before:
            return before
        after = replace(after, version=(before.version + 1) if before else 1)
        if after.bound_subdomain is not None:
            taken = (table.c.bound_subdomain == after.bound_subdomain) & (
                table.c.organization_id != organization_id
            )
            session.execute(
                update(table)
                .where(taken)
                .values(bound_subdomain=None, ask_at=0, asked=0, version=table.c.version + 1)
            )
        if before is None:
            session.execute(insert(table).values(_values(after)))
        else:
            same = (table.c.organization_id == organization_id) & (table.c.version == before.version)
            result: Any = session.execute(update(table).where(same).values(_values(after)))
            if result.rowcount != 1:
                raise Conflict
        return after

    def _select(self, condition: Any, *, limit: int, order: Any = None) -> list[Organization]:
        query = select(self._table).where(condition).limit(limit)
        if order is not None:
            query = query.order_by(order)
        with self._sessions() as session:
            return [_organization(row) for row in session.execute(query)]


def _organization(row: Any) -> Organization:
    return Organization(
        organization_id=row.organization_id,
        state=State(row.state),
        shared_secret=row.shared_secret or None,
        subdomain=row.subdomain,
        bound_subdomain=row.bound_subdomain,
        installed_user_id=row.installed_user_id,
        previous_secret=row.previous_secret,
        previous_secret_until=row.previous_secret_until,
        proven_at=row.proven_at,
        binding_proven_at=row.binding_proven_at,
        uninstall_requested_at=row.uninstall_requested_at,
        refused_at=row.refused_at,
        asked=row.asked,
        ask_at=row.ask_at,
        enabled=row.enabled,
        approved=row.approved,
        version=row.version,
    )


def _values(organization: Organization) -> dict[str, Any]:
    values = asdict(organization)
    values["state"] = organization.state.value
    values["shared_secret"] = organization.shared_secret or ""
    return values
