"""How a delivery enters the inbox: once, and as a duplicate where an equal one is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .delivery_record import DeliveryRecord, DeliveryState, columns_of, record_of
from .transactions import Conflict

LOST = "The worker was lost."


class Taken(Exception):
    """Another delivery has this digest."""


class BeingHandled(Exception):
    """A view is at an equal delivery at this moment."""


def insert_first(
    session: Session, table: Any, new: DeliveryRecord, unique_digest: str | None, lease: str | None
) -> DeliveryRecord:
    """Insert what most likely has no equal one.

    :raises Taken: it has.
    """
    values = {name: value for name, value in vars(new).items() if name != "id"}
    values |= {"unique_digest": unique_digest, "lease": lease}
    try:
        result: Any = session.execute(insert(table).values(columns_of(values)))
    except IntegrityError as error:
        error.hide_parameters = True
        raise Taken from error
    return replace(new, id=result.inserted_primary_key[0])


def insert_second(
    session: Session,
    table: Any,
    *,
    new: DeliveryRecord,
    oldest: float,
    lease: str | None,
    lost_before: float,
) -> DeliveryRecord:
    """Insert what has an equal one, or had until a moment ago.

    :param oldest: an equal one that came later than this makes it a duplicate.
    :raises BeingHandled: a view is at the equal one.
    :raises Conflict: another writer was first.
    """
    equal = table.c.unique_digest == new.digest
    row = session.execute(select(table).where(equal).with_for_update()).first()
    first = record_of(row) if row else None
    if first is not None and first.received_at > oldest:
        under_way = lease is not None and first.state is DeliveryState.PROCESSING
        if not under_way:
            second = replace(new, state=DeliveryState.DUPLICATE, duplicate_of=first.id, next_attempt_at=None)
            return insert_first(session, table, second, None, None)
        if first.received_at > lost_before:
            raise BeingHandled
        values = {"state": DeliveryState.FAILED.value, "last_error": LOST, "lease": None}
        update_rows(session, table, table.c.id == first.id, values)
    if first is not None and not update_rows(
        session, table, (table.c.id == first.id) & equal, {"unique_digest": None}
    ):
        raise Conflict
    try:
        return insert_first(session, table, new, new.digest, lease)
    except Taken as error:
        # Another writer's, or a constraint that is not ours: that is refused each time.
        raise Conflict from error.__cause__


def update_rows(session: Session, table: Any, condition: Any, values: Mapping[str, Any]) -> int:
    """Assign in the order of the values. :returns: how many rows were changed."""
    result: Any = session.execute(update(table).where(condition).ordered_values(*values.items()))
    return int(result.rowcount)
