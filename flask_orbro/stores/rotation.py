"""Writing secrets anew with the newest key, in batches, while the app runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, or_, select, update
from sqlalchemy.orm import Session

from ..crypto import KEY_ID, MARK, KeyRing, Unreadable, is_encrypted
from ..installation import State
from ..logs import get_logger
from ..models import Models
from .records import ORGANIZATION_SECRETS, claim_place, organization_place
from .transactions import SessionFactory, in_transaction

logger = get_logger(__name__)

#: What secrets in plain text are counted under.
PLAIN = ""


@dataclass(frozen=True)
class _Secrets:
    """One column of secrets; ``place`` tells where that of a row belongs."""

    table: Any
    name: str
    place: Callable[[Any], tuple[str, ...]]

    @property
    def column(self) -> Any:
        return self.table.c[self.name]


class Rotation:
    """Can be stopped and begun again at any time: what is written already is left as it is."""

    def __init__(self, sessions: SessionFactory, models: Models, keys: KeyRing) -> None:
        self._sessions = sessions
        self._keys = keys
        info, claim = models.client_info.__table__, models.claim.__table__
        self._columns = [
            *(_Secrets(info, name, _organization_place_of(name)) for name in ORGANIZATION_SECRETS),
            _Secrets(claim, "shared_secret", lambda row: claim_place(row.organization_id, row.digest)),
        ]

    def by_key(self) -> Counter[str]:
        """How many secrets each key has written, by its id; :data:`PLAIN` for those in plain text."""
        counted: Counter[str] = Counter()
        for secrets in self._columns:
            column = secrets.column
            id_of_key = func.substr(column, len(MARK) + 1, KEY_ID)
            key = case((_encrypted(column), id_of_key), else_=PLAIN).label("key")
            query = select(key, func.count()).where(column != "").group_by("key")
            for found, count in self._read(query):
                counted[found] += count
        return counted

    def rows_of(self, key: str) -> int:
        """How many rows hold a secret that a key has written."""
        rows = 0
        for table in {secrets.table for secrets in self._columns}:
            written = [_written_with(key, secrets) for secrets in self._columns if secrets.table is table]
            rows += self._read(select(func.count()).select_from(table).where(or_(*written)))[0][0]
        return rows

    def run(self, batch: int) -> Iterator[int]:
        """Write what another key, or none, has written; yields how many after each batch.

        A secret that cannot be read is passed over.
        """
        for secrets in self._columns:
            last = 0
            while rows := self._read(self._older(secrets, last, batch)):
                last = rows[-1].id
                yield self._write(secrets, rows)

    def _older(self, secrets: _Secrets, last: int, batch: int) -> Any:
        ids, older = secrets.table.c.id, ~_written_with(self._keys.ids[0], secrets)
        query = select(secrets.table).where(secrets.column != "", older, ids > last)
        return query.order_by(ids).limit(batch)

    def _write(self, secrets: _Secrets, rows: list[Any]) -> int:
        anew = [
            {"row": row.id, "was": written, "now": text}
            for row in rows
            for written, text in [(getattr(row, secrets.name), self._anew(secrets, row))]
            if text is not None
        ]
        if not anew:
            return 0
        # One that the app has changed meanwhile is as it should be.
        same = (secrets.table.c.id == bindparam("row")) & (secrets.column == bindparam("was"))
        values: dict[str, Any] = {secrets.name: bindparam("now")}
        if "updated_time" in secrets.table.c:
            values["updated_time"] = secrets.table.c.updated_time
        statement = update(secrets.table).where(same).values(values)

        def write(session: Session) -> None:
            session.connection().execute(statement, anew)

        in_transaction(self._sessions, write)
        return len(anew)

    def _anew(self, secrets: _Secrets, row: Any) -> str | None:
        written = getattr(row, secrets.name)
        place = secrets.place(row)
        # In a row that is trusted, plain text is somebody else's: it stays unreadable.
        trusted = getattr(row, "state", State.PENDING.value) != State.PENDING.value
        try:
            plain = written if not (is_encrypted(written) or trusted) else self._keys.decrypt(written, place)
        except Unreadable as error:
            logger.error(
                "%s of organization %s cannot be read: %s.", secrets.name, row.organization_id, error
            )
            return None
        return self._keys.encrypt(plain, place)

    def _read(self, query: Any) -> list[Any]:
        return in_transaction(self._sessions, lambda session: list(session.execute(query)))


def _organization_place_of(name: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda row: organization_place(row.organization_id, name)


def _encrypted(column: Any) -> Any:
    return func.substr(column, 1, len(MARK)) == MARK


def _written_with(key: str, secrets: _Secrets) -> Any:
    column = secrets.column
    if key == PLAIN:
        return (column != "") & ~_encrypted(column)
    return func.substr(column, 1, len(MARK) + KEY_ID) == MARK + key
