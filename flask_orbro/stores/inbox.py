"""The inbox in SQL: one row per delivery, leased to one worker at a time.

A row moves by compare-and-set alone, so that any number of processes may work one inbox:

.. code-block:: text

    received ──claim──▶ processing ──settle──▶ done | dead
       ▲                    │  └────────────▶ failed: to be tried again
       └────── sweep ───────┴─────────────────────┘ once it is due, or its worker is lost

``next_attempt_at`` is when a sweep is to look at a row again: when nobody came for it, when its lease
ends, or when it is to be tried again. A row of which nothing is due has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import case, delete, func, select
from sqlalchemy.orm import Session

from ..models import Models
from .arrivals import LOST, Taken, insert_first, insert_second, update_rows
from .delivery_record import (
    HANDLER_DEAD,
    HANDLER_DONE,
    UNHANDLED,
    DeliveryRecord,
    DeliveryState,
    columns_of,
    record_of,
)
from .transactions import SessionFactory, in_transaction, same_text

#: Rows that one statement of a sweep, of the retention or of an erasure takes.
BATCH = 500
#: How long the sender of a delivery is kept waiting for a database that is busy, in seconds.
PATIENCE = 3.0

T = TypeVar("T")


class InboxStore:
    """:param sessions: makes a new SQLAlchemy session."""

    def __init__(self, sessions: SessionFactory, models: Models) -> None:
        self._sessions = sessions
        self._table = models.delivery.__table__

    def receive(
        self, new: DeliveryRecord, *, window: float, lease: str | None = None, lost_before: float = 0
    ) -> DeliveryRecord:
        """Keep a delivery; committed when this returns. One statement, unless it is a duplicate.

        Which of two equal ones is the duplicate is decided by a unique index, so it does not matter
        which processes they reach.

        :param window: seconds; an equal one of so long ago makes this one a duplicate. 0: none does.
        :param lease: of a view that handles its deliveries itself.
        :param lost_before: a view that began earlier than this has been lost.
        :returns: the delivery or the duplicate, as it was kept.
        :raises BeingHandled: a view is at an equal one still, and nothing is kept.
        :raises Conflict: another constraint than the one of duplicates refuses it.
        """
        unique_digest = new.digest if window else None
        try:
            return self._soon(lambda session: insert_first(session, self._table, new, unique_digest, lease))
        except Taken:
            oldest = new.received_at - window
            second = partial(insert_second, new=new, oldest=oldest, lease=lease, lost_before=lost_before)
            return self._soon(lambda session: second(session, self._table))

    def get(self, delivery_id: int) -> DeliveryRecord | None:
        """One delivery, as it is now."""
        return self._in(lambda session: self._get(session, delivery_id))

    def find(
        self,
        *,
        state: DeliveryState | None = None,
        organization_id: str | None = None,
        unhandled: bool = False,
        before: int | None = None,
        limit: int = 50,
    ) -> list[DeliveryRecord]:
        """Deliveries, newest first, without their payloads and headers.

        :param unhandled: only those that are done because no handler took them.
        :param before: only those with a smaller id.
        """
        state = DeliveryState.DONE if unhandled else state
        columns = [column for column in self._table.c if column.name not in ("payload", "headers")]
        query = select(*columns).order_by(self._table.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(self._table.c.state == state.value)
        if organization_id is not None:
            query = query.where(same_text(self._table.c.organization_id, organization_id))
        if unhandled:
            query = query.where(self._table.c.last_error == UNHANDLED)
        if before is not None:
            query = query.where(self._table.c.id < before)
        return self._in(lambda session: [record_of(row) for row in session.execute(query)])

    def count(self, state: DeliveryState) -> int:
        """How many deliveries are in a state; it counts them one by one."""
        query = select(func.count()).select_from(self._table).where(self._table.c.state == state.value)
        return self._in(lambda session: session.scalar(query) or 0)

    # What workers do.

    def claim(self, delivery_id: int, *, lease: str, until: float) -> DeliveryRecord | None:
        """Lease a delivery that waits.

        :param until: when others may take it to be lost.
        :returns: it, or ``None`` where it does not wait.
        """

        def work(session: Session) -> DeliveryRecord | None:
            waits = self._is(delivery_id) & (self._table.c.state == DeliveryState.RECEIVED.value)
            values = {
                "state": DeliveryState.PROCESSING.value,
                "lease": lease,
                "next_attempt_at": until,
                "attempts": self._table.c.attempts + 1,
            }
            return self._get(session, delivery_id) if self._update(session, waits, values) else None

        return self._in(work)

    def fence(self, delivery_id: int, *, lease: str, new: str) -> Mapping[str, str] | None:
        """Replace a lease, so that whoever still works under the old one can commit nothing more.

        :returns: the progress that was committed till then, or ``None`` where the lease was lost.
        """

        def work(session: Session) -> Mapping[str, str] | None:
            held = self.settle_in(session, delivery_id, lease, {"lease": new})
            record = self._get(session, delivery_id) if held else None
            return None if record is None else record.progress

        return self._in(work)

    def settle(self, delivery_id: int, lease: str, values: Mapping[str, Any]) -> bool:
        """Write what an attempt came to. :returns: whether the lease was still held."""
        return self._in(lambda session: self.settle_in(session, delivery_id, lease, values))

    def settle_in(self, session: Session, delivery_id: int, lease: str, values: Mapping[str, Any]) -> bool:
        """As :meth:`settle`, as a part of somebody else's transaction."""
        held = self._is(delivery_id) & (self._table.c.lease == lease)
        return self._update(session, held, columns_of(values)) == 1

    # What a sweep does.

    def call_due(self, now: float, *, until: float, limit: int = BATCH) -> list[int]:
        """Put deliveries that are due among those that wait.

        :param until: when to look at them again, should nobody come.
        :param limit: up to so many, longest due first.
        :returns: their ids.
        """

        def work(session: Session) -> list[int]:
            due = self._table.c.next_attempt_at <= now
            query = select(self._table.c.id).where(due).order_by(self._table.c.next_attempt_at)
            ids = list(session.scalars(query.limit(limit).with_for_update(skip_locked=True)))
            lost = self._table.c.state == DeliveryState.PROCESSING.value
            values = {
                # First: MariaDB assigns from left to right, and sees what it has assigned.
                "last_error": case((lost, LOST), else_=self._table.c.last_error),
                "state": DeliveryState.RECEIVED.value,
                "lease": None,
                "next_attempt_at": until,
            }
            if ids:
                # SQLite has no row locks: one that has moved meanwhile is left alone.
                self._update(session, self._table.c.id.in_(ids) & due, values)
            return ids

        return self._in(work)

    def next_due(self) -> float | None:
        """When a sweep has something to do next."""
        due = self._table.c.next_attempt_at
        query = select(due).where(due.is_not(None)).order_by(due).limit(1)
        return self._in(lambda session: session.scalar(query))

    def retain(self, *, received_after: float, most: int) -> int:
        """Drop what is old among the :data:`BATCH` oldest deliveries of which nothing is due.

        :param received_after: those received earlier are old.
        :param most: those whose id is smaller by so much than the newest one's are old.
        :returns: how many were dropped; 0: no others are old.
        """
        table = self._table

        def work(session: Session) -> int:
            newest = session.scalar(select(func.max(table.c.id))) or 0
            query = select(table.c.id, table.c.received_at).where(table.c.next_attempt_at.is_(None))
            oldest = session.execute(query.order_by(table.c.id).limit(BATCH)).all()
            old = [row.id for row in oldest if row.received_at < received_after or row.id <= newest - most]
            return self._delete(session, old)

        return self._in(work)

    # What a person does.

    def redeliver(self, delivery_id: int, *, now: float, unfinished: bool = False) -> bool:
        """Let a delivery be handled again: by the handlers that gave it up, or by all where none did.

        :param unfinished: in any case only by handlers that are not done with it, such as new ones.
        :returns: ``False`` where it is not there, or somebody is at it.
        """

        def work(session: Session) -> bool:
            record = self._get(session, delivery_id)
            if record is None:
                return False
            keeps_done = unfinished or HANDLER_DEAD in record.progress.values()
            done = {name: word for name, word in record.progress.items() if word == HANDLER_DONE}
            values = {
                "state": DeliveryState.RECEIVED,
                "attempts": 0,
                "next_attempt_at": now,
                "lease": None,
                "progress": done if keeps_done else {},
                "last_error": None if record.last_error == UNHANDLED else record.last_error,
            }
            free = self._is(delivery_id) & (self._table.c.state != DeliveryState.PROCESSING.value)
            return self._update(session, free, columns_of(values)) == 1

        return self._in(work)

    def erase(self, organization_id: str) -> int:
        """Forget every delivery of an organization. :returns: how many there were."""
        own = same_text(self._table.c.organization_id, organization_id)

        def work(session: Session) -> int:
            ids = session.scalars(select(self._table.c.id).where(own).limit(BATCH)).all()
            return self._delete(session, ids)

        erased = 0
        while some := self._in(work):
            erased += some
        return erased

    def _in(self, work: Callable[[Session], T]) -> T:
        return in_transaction(self._sessions, work)

    def _soon(self, work: Callable[[Session], T]) -> T:
        return in_transaction(self._sessions, work, within=PATIENCE)

    def _get(self, session: Session, delivery_id: int) -> DeliveryRecord | None:
        row = session.execute(select(self._table).where(self._is(delivery_id))).first()
        return record_of(row) if row else None

    def _is(self, delivery_id: int) -> Any:
        return self._table.c.id == delivery_id

    def _update(self, session: Session, condition: Any, values: Mapping[str, Any]) -> int:
        return update_rows(session, self._table, condition, values)

    def _delete(self, session: Session, ids: Sequence[int]) -> int:
        if ids:
            session.execute(delete(self._table).where(self._table.c.id.in_(ids)))
        return len(ids)
