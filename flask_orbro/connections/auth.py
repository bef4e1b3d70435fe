"""How a connection shows who it is: one class for each kind, read from the definition."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import quote

import httpx2

from ..checks import number, one_of, switch, text
from ..errors import NotAuthenticated
from .forwarding import forwardable, issuer_of
from .reading import Reading
from .urls import url_check

_Flow = Generator[httpx2.Request, httpx2.Response, None]

HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
#: Headers that the HTTP library and the kinds of login write.
OF_HTTP = {
    "authorization", "proxy-authorization", "host", "content-length", "transfer-encoding", "connection",
    "upgrade", "te", "trailer", "expect",
}  # fmt: skip

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class _AsksNobody:
    #: URLs that are asked for a token, by key.
    urls: ClassVar[dict[str, str]] = {}


@dataclass(frozen=True)
class NoAuth(_AsksNobody):
    """Nothing is shown."""

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        return cls()

    def flow(self) -> httpx2.Auth:
        return httpx2.Auth()


@dataclass(frozen=True)
class ApiKey(_AsksNobody):
    """A key in a header, or in a query parameter."""

    key: str = field(repr=False)
    header: str | None = None
    query: str | None = None

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        if ("header" in reading) == ("query" in reading):
            reading.fault("", "names either a 'header' or a 'query' parameter")
        return cls(
            key=reading.take("key", _visible, secret=True),
            header=reading.take("header", _header_name, None),
            query=reading.take("query", text, None),
        )

    def flow(self) -> httpx2.Auth:
        if self.header is not None:
            return HeaderAuth(self.header, self.key)
        return QueryAuth(f"{quote(self.query or '', safe='')}={quote(self.key, safe='')}".encode())


@dataclass(frozen=True)
class Basic(_AsksNobody):
    """A user name and a password (RFC 7617)."""

    username: str
    password: str = field(repr=False)

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        return cls(
            username=reading.take("username", _user_name),
            password=reading.take("password", _password, secret=True),
        )

    def flow(self) -> httpx2.Auth:
        return HeaderAuth("Authorization", basic(self.username, self.password))


@dataclass(frozen=True)
class Bearer(_AsksNobody):
    """A token that never changes."""

    token: str = field(repr=False)

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        return cls(token=reading.take("token", _visible, secret=True))

    def flow(self) -> httpx2.Auth:
        return HeaderAuth("Authorization", f"Bearer {self.token}")


@dataclass(frozen=True)
class Forward(_AsksNobody):
    """The caller's own bearer token.

    :param issuers: whose tokens are forwarded; empty: anybody's.
    :param opaque: whether tokens are that name no issuer.
    """

    issuers: tuple[str, ...] = ()
    opaque: bool = False

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        if "issuers" in reading and "opaque" in reading:
            reading.fault("", "names 'issuers' or 'opaque', for an opaque token has no issuer")
        return cls(
            issuers=reading.take("issuers", _issuers, ()), opaque=reading.take("opaque", switch, False)
        )

    def admit(self, token: str) -> str:
        """The token, where it is one that this connection forwards.

        :raises NotAuthenticated: where it is not.
        """
        issuer = issuer_of(forwardable(token))
        if issuer is None and not self.opaque:
            raise NotAuthenticated(
                "A token that names no issuer is not forwarded.", reason="token_of_another_kind"
            )
        if self.issuers and issuer not in self.issuers:
            raise NotAuthenticated("A token of this issuer is not forwarded.", reason="token_of_another_kind")
        return token


@dataclass(frozen=True)
class ConnectApp(_AsksNobody):
    """The platform, as the app: for the caller's organization, or for one that is named."""

    organization_id: str | None = None

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        return cls(organization_id=reading.take("organization_id", text, None))


@dataclass(frozen=True)
class ClientCredentials:
    """OAuth 2.0 client credentials (RFC 6749, section 4.4).

    :param client_auth: how the client shows who it is to the token URL: ``basic`` or ``post``.
    :param leeway: seconds; how long before its expiry a token is renewed.
    :param token_life: seconds; taken where the answer does not tell.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    resource: str | None = None
    client_auth: str = "basic"
    leeway: float = 30.0
    token_life: float = 300.0

    @property
    def urls(self) -> dict[str, str]:
        return {"auth.token_url": self.token_url}

    @classmethod
    def read(cls, reading: Reading, *, allow_http: bool) -> Self:
        return cls(
            token_url=reading.take("token_url", url_check(allow_http=allow_http)),
            client_id=reading.take("client_id", text),
            client_secret=reading.take("client_secret", _password, secret=True),
            scopes=reading.take("scopes", _scopes, ()),
            audience=reading.take("audience", text, None),
            resource=reading.take("resource", text, None),
            client_auth=reading.take("client_auth", one_of("basic", "post"), "basic"),
            leeway=reading.take("leeway", number(0, 3600), 30.0, numeric=True),
            token_life=reading.take("token_life", number(1, 86_400), 300.0, numeric=True),
        )


#: Their fields are part of the definition's fingerprint.
AuthKind = NoAuth | ApiKey | Basic | Bearer | ClientCredentials | Forward | ConnectApp
AUTH_KINDS: Mapping[str, type[AuthKind]] = {
    "none": NoAuth,
    "api_key": ApiKey,
    "basic": Basic,
    "bearer": Bearer,
    "oauth2_client_credentials": ClientCredentials,
    "forward": Forward,
    "connect_app": ConnectApp,
}


class HeaderAuth(httpx2.Auth):
    """Shows the same value in a header of every request."""

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def auth_flow(self, request: httpx2.Request) -> _Flow:
        request.headers[self._name] = self._value
        yield request


class QueryAuth(httpx2.Auth):
    """Adds a parameter to the query on the wire; the request's own URL, which is logged, is without it."""

    def __init__(self, parameter: bytes) -> None:
        self._parameter = parameter

    def auth_flow(self, request: httpx2.Request) -> _Flow:
        path = request.url.raw_path
        request.extensions["target"] = path + (b"&" if b"?" in path else b"?") + self._parameter
        yield request


class ForwardAuth(httpx2.Auth):
    """Shows the token that is at hand when the call is made.

    :param token: gives it, or raises the error that says why there is none.
    """

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> _Flow:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request


def basic(username: str, password: str) -> str:
    """The value of an ``Authorization`` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _visible(value: Any) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("must be 1 to 8192 visible ASCII characters without spaces")
    return value


def _password(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 4096 or not value.isprintable():
        raise ValueError("must be 1 to 4096 printable characters")
    return value


def _user_name(value: Any) -> str:
    if ":" in text(value):
        raise ValueError("must not have a ':' in it")
    return text(value)


def _header_name(value: Any) -> str:
    if not HEADER.fullmatch(text(value)) or value.lower() in OF_HTTP - {"authorization"}:
        raise ValueError("must be the name of a header of your own, such as X-Api-Key")
    return str(value)


def _issuers(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError('must be issuers, such as ["https://login.example"]')
    return tuple(text(issuer) for issuer in listed)


def _scopes(value: Any) -> tuple[str, ...]:
    scopes = value.split() if isinstance(value, str) else value
    if not isinstance(scopes, list | tuple) or not all(
        isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in scopes
    ):
        raise ValueError('must be scopes, such as ["notes:read", "notes:write"]')
    return tuple(scopes)
