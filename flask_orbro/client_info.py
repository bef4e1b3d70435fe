"""The organizations as the app's own code sees them: ``orbro.client_info_store``, as in the old SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import g
from marshmallow import ValidationError
from sqlalchemy import case, false, or_, select, update
from sqlalchemy.orm import Session

from .errors import ServiceUnavailable
from .history import StateChange
from .installation import Claim, Organization, State, add, matches
from .installs.erasure import Erasure
from .installs.lifecycle import Installed
from .models import ConnectAppClientInfoMixin, Models, columns_of
from .schemas import InstalledSchema
from .stores.claims import ClaimStore
from .stores.organizations import OrganizationStore
from .stores.records import Records
from .stores.transactions import in_transaction, same_text

_STAGED = "_orbro_staged"
_OURS = columns_of(ConnectAppClientInfoMixin)

#: Something to do in a transaction; it returns what is left to do once that is committed.
_Step = Callable[[Session], Callable[[], object]]


@dataclass(frozen=True)
class ClientInfo:
    """An organization that has installed the app, at the moment it was read.

    Columns of the app's own model are attributes too.

    :param shared_secret: decrypted. It counts only where ``state`` is active.
    :param subdomain: the one last proven; where ``state`` is pending, the one that was claimed.
    :param created_time: UTC, without a time zone; ``updated_time`` too.
    :param last_seen_at: when a caller or a delivery was last let in, seconds since the epoch, to some
        minutes.
    """

    organization_id: str
    shared_secret: str | None = field(repr=False)
    subdomain: str | None
    installed_user_id: str | None
    created_time: datetime | None
    updated_time: datetime | None
    state: State
    last_seen_at: float | None
    own_columns: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        # Asked for while the object is being made, as by copying, there is no such attribute yet.
        own = vars(self).get("own_columns", {})
        if name not in own:
            raise AttributeError(f"An organization has no {name!r}.")
        return own[name]


class ClientInfoDataStore:
    """Who installed the app: an app's own is ``orbro.client_info_store``; nobody else makes one. Each call
    reads by itself: no session is kept, or shared with anybody.

    :meth:`add` and :meth:`delete` count with the next :meth:`commit` of the same app context, together.
    """

    def __init__(
        self,
        *,
        organizations: OrganizationStore,
        claims: ClaimStore,
        erasure: Erasure,
        records: Records,
        models: Models,
        claim_of: Callable[[Installed], Claim],
        asks_later: Callable[[], None],
    ) -> None:
        self._organizations = organizations
        self._claims = claims
        self._erasure = erasure
        self._records = records
        self._table = models.client_info.__table__
        self._own_columns = [column.name for column in self._table.c if column.name not in _OURS]
        table = self._table.c
        more = (table.created_time, table.updated_time, *(table[name] for name in self._own_columns))
        self._select = select(*organizations.columns, *more)
        self._claim_of = claim_of
        self._asks_later = asks_later

    def get_by_organization_id(self, organization_id: str | None) -> ClientInfo | None:
        """The organization, unless it has uninstalled the app."""
        return self._first(self._says(organization_id, "organization_id"))

    def get_by_subdomain(self, subdomain: str | None) -> ClientInfo | None:
        """The organization of a subdomain, an active one before any other; look at its ``state``."""
        label = subdomain and subdomain.lower()
        return self._first(self._says(label, "bound_subdomain", "subdomain"))

    def get_by_user_id(self, user_id: str | None) -> ClientInfo | None:
        """An organization that a user has installed the app for, an active one before any other."""
        return self._first(self._says(user_id, "installed_user_id"))

    def get_all(self, page: int = 500) -> Iterator[ClientInfo]:
        """Every organization that has not uninstalled the app, read ``page`` rows at a time.

        :returns: an iterator, where the old SDK gave a list: ``list(store.get_all())`` has a length.
        """
        last, table = 0, self._table
        while rows := self._rows(
            self._select.where(table.c.id > last, self._is_there).order_by(table.c.id).limit(page)
        ):
            last = rows[-1].id
            yield from map(self._info, rows)

    def history(self, organization_id: str) -> list[StateChange]:
        """What has become of an organization, oldest first; bounded, and kept until it is erased."""
        table = self._table
        rows = self._rows(select(table.c.history).where(same_text(table.c.organization_id, organization_id)))
        return self._records.history(rows[0]) if rows else []

    def add(self, data: Mapping[str, Any]) -> ClientInfo:
        """Tell of an organization that has installed the app. It is not trusted for that: it waits, pending,
        until the platform accepts its secret, and where it was proven before, its claim waits beside it.

        :param data: ``organization_id``, ``shared_secret``, and if known ``subdomain`` and
            ``installed_user_id`` (or ``user_id``), as ``installed`` takes them; columns of the app's own
            model besides.
        :returns: what is added with the next :meth:`commit`.
        :raises ValueError: naming the members that are not acceptable.
        """
        own = {name: data[name] for name in self._own_columns if name in data}
        claim = self._claim_of(_installed({name: data[name] for name in data if name not in own}))
        _stage(lambda session: self._add(session, claim, own))
        return _info_of(add(None, claim), own)

    def delete(self, client_info: ClientInfo | str) -> None:
        """Forget an organization and all that is kept about it, with the next :meth:`commit`.

        :param client_info: what a look-up gave, or the organization's id.
        """
        organization_id = client_info if isinstance(client_info, str) else client_info.organization_id
        _stage(lambda session: self._erasure.erase_in(session, organization_id))

    def commit(self) -> None:
        """Write what was added and deleted, in one transaction; where it fails, nothing of it counts."""
        staged: list[_Step] = g.pop(_STAGED, [])
        sessions = self._organizations.sessions
        for finish in in_transaction(sessions, lambda session: [step(session) for step in staged]):
            finish()

    @property
    def _is_there(self) -> Any:
        return self._table.c.state != State.UNINSTALLED.value

    def _add(self, session: Session, claim: Claim, own: dict[str, Any]) -> Callable[[], None]:
        after = self._organizations.change_in(
            session, claim.organization_id, lambda current: add(current, claim)
        )
        proven = after is not None and after.state is not State.PENDING
        if proven and not matches(after, claim) and not self._claims.add_in(session, claim):
            raise ServiceUnavailable("Too many unproven installs wait.", reason="claims_full")
        if own:
            row = self._table.c.organization_id == claim.organization_id
            session.execute(update(self._table).where(row).values(own))

        def finish() -> None:
            self._organizations.tell()
            self._asks_later()

        return finish

    def _says(self, value: str | None, *columns: str) -> Any:
        """The condition that one of some columns is this; nothing is found by ``None``."""
        if value is None:
            return false()
        return or_(*(same_text(self._table.c[name], value) for name in columns))

    def _first(self, condition: Any) -> ClientInfo | None:
        table = self._table
        active_first = case((table.c.state == State.ACTIVE.value, 0), else_=1)
        query = self._select.where(condition, self._is_there).order_by(active_first, table.c.id).limit(1)
        return next(map(self._info, self._rows(query)), None)

    def _rows(self, query: Any) -> list[Any]:
        return in_transaction(self._organizations.sessions, lambda session: list(session.execute(query)))

    def _info(self, row: Any) -> ClientInfo:
        own = {name: getattr(row, name) for name in self._own_columns}
        return _info_of(self._records.organization(row), own, row.created_time, row.updated_time)


def _stage(step: _Step) -> None:
    # In the app context: what is not committed ends with it, and nobody else sees it.
    g.setdefault(_STAGED, []).append(step)


def _installed(data: dict[str, Any]) -> Installed:
    if "installed_user_id" in data:
        data["user_id"] = data.pop("installed_user_id")
    unknown = sorted(set(data) - set(InstalledSchema().fields))
    if unknown:
        raise ValueError(f"These members are not known: {', '.join(unknown)}.")
    try:
        return Installed(**InstalledSchema().load(data))
    except ValidationError as error:
        # Only the names: the error itself carries the secret.
        names = ", ".join(map(repr, error.normalized_messages()))  # type: ignore[no-untyped-call]
        raise ValueError(f"These members are not acceptable: {names}.") from None


def _info_of(
    organization: Organization,
    own: Mapping[str, Any],
    created_time: datetime | None = None,
    updated_time: datetime | None = None,
) -> ClientInfo:
    return ClientInfo(
        organization_id=organization.organization_id,
        shared_secret=organization.shared_secret,
        subdomain=organization.subdomain,
        installed_user_id=organization.installed_user_id,
        created_time=created_time,
        updated_time=updated_time,
        state=organization.state,
        last_seen_at=organization.last_seen_at,
        own_columns=own,
    )
