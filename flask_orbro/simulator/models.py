"""What the simulated platform keeps: organizations, their users and their installations."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import FieldError

User = dict[str, Any]
"""A user as the API shows it: ``id`` (= ``uuid``), ``email``, ``name``, ``role``, ``status``."""

#: Ways to forge a delivery. An app must refuse each of them, but ``body``: a token is not bound to one.
TAMPERS = (
    "signature", "secret", "algorithm", "organization", "issuer",
    "expired", "endless", "missing", "json", "body",
)  # fmt: skip

_NAMESPACE = uuid.UUID("7b8f6a50-3c1d-5d0e-9a64-0b6f0b3f2c11")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


def stable_id(*parts: str) -> str:
    """:returns: the same UUID for the same parts in every run, so that runs can be repeated."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def is_label(text: str) -> bool:
    """:returns: whether ``text`` is one lower-case DNS label."""
    return _LABEL.match(text) is not None


def organization_label(subdomain: str) -> str:
    """
    :param subdomain: name of an organization, in any case.
    :returns: the subdomain in lower case.
    :raises FieldError: it is not a single DNS label.
    """
    label = subdomain.lower() if isinstance(subdomain, str) else ""
    if not is_label(label):
        raise FieldError("organization", f"must be a single DNS label, got {subdomain!r}")
    return label


@dataclass(frozen=True)
class Installation:
    """One app in one organization. Frozen: a change replaces the whole row.

    :param app_url: where the app is reached; also what the app is known by.
    :param client_id: expected ``iss`` of app tokens; ``None``: not checked.
    :param client_secret: expected by the token exchange; ``None``: not checked.
    :param descriptor: the app's ``connect.json`` as last read.
    :param active: whether the platform accepts the secret.
    :param enabled: switched by ``enable`` and ``disable``; nothing else depends on it.
    """

    id: str
    app_url: str
    organization_id: str
    installed_user_id: str
    shared_secret: str = field(repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    descriptor: dict[str, Any] = field(default_factory=dict, repr=False)
    active: bool = True
    enabled: bool = True

    @property
    def scope(self) -> str:
        """The scopes of the descriptor, separated by spaces."""
        scopes = self.descriptor.get("scopes")
        if not isinstance(scopes, list):
            return ""
        return " ".join(scope for scope in scopes if isinstance(scope, str))


@dataclass
class Organization:
    """A tenant of the platform, at ``http://{subdomain}.{base name}:{port}``.

    ``users`` is keyed by user id, ``installations`` by app URL; both belong to the
    :class:`~flask_orbro.simulator.Platform` and change under its lock.
    """

    subdomain: str
    id: str
    users: dict[str, User] = field(default_factory=dict)
    installations: dict[str, Installation] = field(default_factory=dict)

    @classmethod
    def create(cls, subdomain: str) -> Organization:
        """:returns: a new organization with one administrator, ``admin@{subdomain}.example``."""
        email = f"admin@{subdomain}.example"
        admin = new_user(stable_id("user", subdomain, email), {"email": email, "name": "Admin"})
        organization = cls(subdomain, stable_id("organization", subdomain))
        organization.users[admin["id"]] = admin
        return organization


def new_user(user_id: str, fields: dict[str, Any]) -> User:
    """:returns: a user with the platform's defaults for what ``fields`` leaves out."""
    defaults = {"name": "", "role": "HQ", "status": "Activated"}
    return {"id": user_id, "uuid": user_id, **defaults, **fields}


class RequestRecord(NamedTuple):
    """One request that reached the platform. Carries no query, no body and no token.

    :param status: answered HTTP status; 0 where a fault dropped the connection.
    :param at: seconds since the epoch, by the platform's clock.
    """

    method: str
    host: str
    path: str
    status: int
    has_authorization: bool
    at: float


@dataclass(frozen=True)
class Outcome:
    """What the app answered to a lifecycle call or a webhook.

    :param url: what was called.
    :param status: HTTP status of the answer.
    :param body: its JSON, or its text where it is not JSON.
    :param elapsed: seconds until the answer was complete.
    """

    url: str
    status: int
    body: Any
    elapsed: float

    @property
    def ok(self) -> bool:
        """Whether the app answered 2xx."""
        return 200 <= self.status < 300
