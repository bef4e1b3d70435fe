"""What a request shows, and who it turns out to be from."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import NotAuthenticated
from .protocol import bearer_token


@dataclass(frozen=True)
class UserIdentity:
    """A user of the platform. ``email`` is a claim of a token that the platform has accepted."""

    uuid: str
    role: str
    status: str
    email: str | None
    origin: str
    subdomain: str
    organization_id: str


@dataclass(frozen=True)
class ConnectAppIdentity:
    """Another caller that acts through an installed app. ``scope`` is as the platform sent it."""

    id: str
    uuid: str
    organization_id: str
    role: str
    status: str
    scope: str


@dataclass(frozen=True)
class OpenApiIdentity:
    """A holder of an Open API token; it belongs to no organization that the app knows."""

    uuid: str
    role: str
    status: str


Identity = UserIdentity | ConnectAppIdentity | OpenApiIdentity


@dataclass(frozen=True)
class Presented:
    """What a request shows: its ``Authorization`` header, its ``origin`` parameters, its ``sub`` header."""

    authorization: str | None = field(repr=False)
    origins: tuple[str, ...] = ()
    sub: str | None = None

    @property
    def token(self) -> str:
        """The bearer token.

        :raises NotAuthenticated: where there is none, or the header is not exactly ``Bearer <token>``.
        """
        if not self.authorization:
            raise NotAuthenticated(
                "The header 'Authorization' is missing: it is 'Bearer', a space and a token.",
                reason="token_missing",
            )
        token = bearer_token(self.authorization)
        if token is None:
            raise NotAuthenticated(
                "The Authorization header must be 'Bearer', one space and a token.",
                reason="token_malformed",
            )
        return token
