"""Transactions that are tried again, leases that one process takes, and texts that no row can hold."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import false, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from ..errors import ConfigurationError, ServiceUnavailable
from ..logs import get_logger

logger = get_logger(__name__)

SessionFactory = Callable[[], Session]

#: Attempts at a change that another writer gets ahead of.
ATTEMPTS = 12
#: How long what is due is left to the process that asks about it, in seconds.
LEASE = 10.0
#: How long what is due waits where its secret cannot be read, for its key may come back, in seconds.
UNREADABLE = 60.0


class Conflict(ServiceUnavailable):
    """Another writer was first; the change is tried anew. Where that does not end, it is 503."""

    def __init__(self, detail: str = "Too many write at once; try again.") -> None:
        super().__init__(detail, reason="database_unavailable", retry_after=1)


_WORTH_ANOTHER_TRY = (Conflict, IntegrityError, OperationalError, InterfaceError)
#: How databases say that a table or a column is not there: SQLSTATE of PostgreSQL and of others, MariaDB's
#: own numbers, SQLite's words.
_LACKING_CODES = {"42P01", "42703", "42S02", "42S22", 1146, 1054}
_LACKING_WORDS = re.compile("no such (table|column)|has no column named")
_OUTDATED = (
    "The database lacks a table or a column of this version. Run 'flask orbro upgrade-database', or "
    "'flask db upgrade' where the app has migrations of its own."
)

T = TypeVar("T")


def in_transaction(sessions: SessionFactory, work: Callable[[Session], T], *, within: float = math.inf) -> T:
    """Do some work in a transaction, and do it again where another writer was first, or in its way, or
    where the server has dropped the connection.

    :param within: seconds after which it is not begun again, unless the connection was dropped.
    :raises ServiceUnavailable: where the database is out of reach, or stays busy; at once, where it was not
        brought up to date. The log says so.
    """
    latest = time.monotonic() + within
    for attempt in range(ATTEMPTS):
        try:
            with sessions() as session, session.begin():
                return work(session)
        except PoolTimeout as error:
            raise _unavailable(error) from error
        except (Conflict, StatementError) as error:
            if isinstance(error, StatementError):
                error.hide_parameters = True  # they hold secrets, and errors are logged
            _refuse_outdated(error)
            dropped = isinstance(error, DBAPIError) and error.connection_invalidated
            if not (dropped or isinstance(error, _WORTH_ANOTHER_TRY)):
                raise
            is_late = time.monotonic() > latest and not dropped
            if attempt == ATTEMPTS - 1 or is_late:
                if isinstance(error, (Conflict, IntegrityError)):
                    raise
                raise _unavailable(error) from error
            time.sleep(0.005 * 2 ** min(attempt, 5))
    raise AssertionError("unreachable")


def _unavailable(error: Exception) -> ServiceUnavailable:
    reason = getattr(error, "orig", None) or error
    said = str(reason).partition("\n")[0]
    logger.error("The database cannot be used: %s %s", type(reason).__name__, said)
    return ServiceUnavailable(
        "The app's database cannot be used now.", reason="database_unavailable", retry_after=5
    )


def _refuse_outdated(error: Exception) -> None:
    """:raises ServiceUnavailable: where a person has to do something before another try can help."""
    if not isinstance(error, DBAPIError):
        return
    codes = [getattr(error.orig, name, None) for name in ("sqlstate", "pgcode")]
    codes += getattr(error.orig, "args", ())[:1]
    if _LACKING_CODES.intersection(codes) or _LACKING_WORDS.search(str(error.orig)):
        logger.error("%s (%s)", _OUTDATED, str(error.orig).partition("\n")[0])
        raise ServiceUnavailable(
            "The app's database is not up to date.", reason="database_outdated", retry_after=60
        ) from ConfigurationError(_OUTDATED)


def leased(
    sessions: SessionFactory,
    table: Any,
    due: Iterable[T],
    as_read: Callable[[T], Any],
    until: float,
    **also: Any,
) -> Iterator[T]:
    """Those of the due rows that no other process has taken, each taken when its turn comes.

    Whoever has taken it may die, so it is due again when its lease ends, unless it was changed before.

    :param as_read: the condition that a row is still what was read, and due.
    :param until: when the lease of the first one ends, in seconds since the epoch.
    :param also: more to write.
    """
    began = time.monotonic()
    for item in due:
        ask_at = until + time.monotonic() - began
        taking = update(table).where(as_read(item)).values(ask_at=ask_at, **also)
        if in_transaction(sessions, partial(_rows_changed, statement=taking)):
            yield item


def _rows_changed(session: Session, statement: Any) -> int:
    result: Any = session.execute(statement)
    changed: int = result.rowcount
    return changed


def same_text(column: Any, value: str) -> Any:
    """The condition that a column is this text, from wherever: what no database can keep is in no row."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return false()
    return false() if "\0" in value else column == value
