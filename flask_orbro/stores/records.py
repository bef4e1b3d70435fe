"""From rows to records and back. Secrets are encrypted in rows, each bound to its row and column."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from ..crypto import KeyRing, Unreadable, is_encrypted
from ..history import StateChange
from ..installation import Claim, Organization, State
from ..logs import get_logger
from ..models import ConnectAppClaimMixin, ConnectAppClientInfoMixin
from ..protocol import subdomain_label

logger = get_logger(__name__)

#: What a row of an organization begins with, in the order of the record's own fields.
ORGANIZATION_COLUMNS = tuple(field.name for field in fields(Organization))
CLAIM_COLUMNS = tuple(field.name for field in fields(Claim))
#: The columns of organizations that hold secrets.
ORGANIZATION_SECRETS = ("shared_secret", "previous_secret")
_LENGTH = len(ORGANIZATION_COLUMNS)
_ID, _STATE, _SUBDOMAIN, _SECRET, _PREVIOUS = map(
    ORGANIZATION_COLUMNS.index,
    ("organization_id", "state", "subdomain", "shared_secret", "previous_secret"),
)
#: Lines of history kept for each organization, the newest.
HISTORY = 20


def organization_place(organization_id: str, column: str) -> tuple[str, ...]:
    """Where a secret of an organization belongs. The name is the mixin's: a renamed table stays readable."""
    return ConnectAppClientInfoMixin.__tablename__, organization_id, column


def claim_place(organization_id: str, digest: str) -> tuple[str, ...]:
    """Where the secret of a claim belongs."""
    return ConnectAppClaimMixin.__tablename__, organization_id, digest, "shared_secret"


class Records:
    """Reads and writes the rows of both tables.

    A secret that cannot be read, because its key is missing or because it was moved here from another
    row, is logged and is no secret. In plain text it counts only where nothing of it is trusted yet: in
    an organization that was never proven, as the old SDK has left it, and in a claim.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def organization(self, row: Any) -> Organization:
        """:param row: begins with :data:`ORGANIZATION_COLUMNS`. Each request reads one: names cost more."""
        values = list(row[:_LENGTH])
        values[_STATE] = state = State(values[_STATE])
        plain = state is State.PENDING
        for at in (_SECRET, _PREVIOUS):
            if values[at]:
                place = organization_place(values[_ID], ORGANIZATION_COLUMNS[at])
                values[at] = self._read(values[at], place, plain=plain)
            else:
                values[at] = None
        if values[_SUBDOMAIN] is not None:
            # The old SDK kept what anybody sent, and this becomes the name of a host.
            values[_SUBDOMAIN] = subdomain_label(values[_SUBDOMAIN])
        return Organization(*values)

    def values_of(self, after: Organization, before: Organization | None, row: Any) -> dict[str, Any]:
        """What to write so that ``row``, which says ``before``, says ``after``."""
        values = asdict(after)
        values["state"] = after.state.value
        del values["last_seen_at"]  # another process may have seen it meanwhile
        for name in ORGANIZATION_SECRETS:
            secret = getattr(after, name)
            if secret is not None:
                values[name] = self._keys.encrypt(secret, organization_place(after.organization_id, name))
        if after.shared_secret is None:
            values["shared_secret"] = ""
            unreadable = before is not None and before.shared_secret is None and row.shared_secret
            if unreadable and after.state is not State.UNINSTALLED:
                # Its key may come back.
                del values["shared_secret"]
        return values

    def history(self, row: Any) -> list[StateChange]:
        """What has become of an organization, oldest first."""
        lines = json.loads(row.history) if row is not None and row.history else []
        return [
            StateChange(at, None if before is None else State(before), State(after), why)
            for at, before, after, why in lines
        ]

    def values_of_history(self, row: Any, change: StateChange) -> dict[str, str]:
        """What to write so that the history of ``row`` ends with a change."""
        lines = [*self.history(row), change][-HISTORY:]
        return {"history": json.dumps([[line.at, line.before, line.after, line.why] for line in lines])}

    def claim(self, row: Any) -> Claim | None:
        """:returns: ``None`` where its secret cannot be read."""
        secret = self._read(row.shared_secret, claim_place(row.organization_id, row.digest), plain=True)
        if secret is None:
            return None
        return Claim(**{name: getattr(row, name) for name in CLAIM_COLUMNS} | {"shared_secret": secret})

    def values_of_claim(self, claim: Claim) -> dict[str, Any]:
        place = claim_place(claim.organization_id, claim.digest)
        secret = self._keys.encrypt(claim.shared_secret, place)
        return vars(claim) | {"shared_secret": secret}

    def _read(self, written: str, place: tuple[str, ...], *, plain: bool) -> str | None:
        if plain and not is_encrypted(written):
            return written
        try:
            return self._keys.decrypt(written, place)
        except Unreadable as error:
            logger.error("%s of organization %s cannot be read: %s.", place[-1], place[1], error)
            return None
