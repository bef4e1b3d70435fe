"""Connections to back ends, sync and async; they work without an app."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import httpx2

from ..errors import ConfigurationError, ConnectionUnavailable, NoCallerError
from ..http.bulkhead import Bulkhead
from ..http.calling import AsyncClient, Calling, Client, SyncClient, nowhere
from ..http.event_loop import LoopThread
from ..http.outgoing import has_dots
from ..http.pool import HttpPool
from ..http.retry import RetryPolicy
from ..http.token_auth import TokenAuth
from ..logs import get_logger, redact_client_logs
from ..metrics import Metrics, NoMetrics
from ..stores.cache import Cache, MemoryCache, SealedCache
from ..stores.redis_cache import RedisCache
from .auth import ClientCredentials, ConnectApp, Forward, ForwardAuth
from .definition import ConnectionDefinition, read_definition
from .reading import Sources
from .response import ConnectionResponse
from .tokens import ClientCredentialsTokens
from .urls import origin_of, parse_url

logger = get_logger(__name__)
R = TypeVar("R")

USER_AGENT = "flask-orbro"
#: To connect, and for the answer of a token URL, in seconds; less where a call has less.
CONNECT_TIMEOUT, TOKEN_TIMEOUT = 5.0, 10.0


def _no_caller() -> str:
    raise NoCallerError("There is no caller whose token could be forwarded; use 'with_token(token)'.")


@dataclass(frozen=True)
class Surroundings:
    """What an app gives to its connections.

    :param cache: where tokens are kept.
    :param secret: what they are sealed with; ``None``: with the secret of each connection itself.
    :param callers_token: the bearer token of the current request, which may be forwarded.
    :param home: see :class:`~flask_orbro.http.calling.Calling`.
    """

    cache: Cache
    secret: str | None = field(default=None, repr=False)
    metrics: Metrics = field(default_factory=NoMetrics)
    callers_token: Callable[[], str] = _no_caller
    home: Callable[[], LoopThread | None] = nowhere
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class Parts:
    """What the sync and the async form of one connection share."""

    name: str
    definition: ConnectionDefinition
    calling: Calling
    auth: httpx2.Auth
    tokens: ClientCredentialsTokens | None


def make_parts(name: str, definition: ConnectionDefinition, around: Surroundings) -> Parts:
    """:raises ConfigurationError: where only an app can have such a connection."""
    http = HttpPool(
        size=definition.pool,
        connect_timeout=min(definition.timeout, CONNECT_TIMEOUT),
        request_timeout=definition.timeout,
        user_agent=USER_AGENT,
        headers=definition.headers,
        verify=definition.verify,
    )
    calling = Calling(
        http=http,
        retries=RetryPolicy(attempts=definition.retries + 1, budget=definition.timeout),
        bulkhead=Bulkhead(definition.pool),
        count=partial(around.metrics.connection, name),
        home=around.home,
    )
    tokens = None
    auth: httpx2.Auth
    match definition.auth:
        case ClientCredentials() as credentials:
            tokens = _tokens(name, definition, credentials, http, around)
            auth = TokenAuth(tokens.get, tokens.after_refusal, refused_again=tokens.refused_again)
        case Forward() as forward:
            auth = ForwardAuth(lambda: forward.admit(around.callers_token()))
        case ConnectApp():
            raise ConfigurationError(f"The connection '{name}' is the platform, which only an app can call.")
        case known:
            auth = known.flow()
    return Parts(name, definition, calling, auth, tokens)


def _tokens(
    name: str,
    definition: ConnectionDefinition,
    credentials: ClientCredentials,
    http: HttpPool,
    around: Surroundings,
) -> ClientCredentialsTokens:
    cache = SealedCache(around.cache, around.secret or credentials.client_secret, "connection", around.clock)
    return ClientCredentialsTokens(
        name,
        credentials,
        http=http,
        cache=cache,
        # A changed definition never finds the token of the old one.
        kept_as=cache.name(name, definition.fingerprint),
        timeout=min(definition.timeout, TOKEN_TIMEOUT),
        clock=around.clock,
    )


class _OnConnection(Client[ConnectionResponse, R]):
    """What connections add to the rules of a call.

    :param name: for messages and logs.
    :param definition: as in ``ORBRO_CONNECTIONS``.
    :param config: where references such as ``{"config": "KEY"}`` lead.
    :param redis: a redis-py client: other processes with this definition share its tokens.
    :raises ConfigurationError: naming every fault of the definition.
    """

    #: What is on the other side: a key of :data:`~flask_orbro.connections.definition.HEALTH`.
    kind: ClassVar[str] = "rest"
    #: What its calls return.
    response_class: ClassVar[type[ConnectionResponse]] = ConnectionResponse

    def __init__(
        self,
        name: str,
        definition: Mapping[str, Any],
        *,
        config: Mapping[str, Any] | None = None,
        redis: Any = None,
    ) -> None:
        redact_client_logs()
        checked = read_definition(name, definition, Sources(config=config or {}), self.kind)
        for relaxation in checked.relaxations:
            logger.warning("The connection '%s': %s.", name, relaxation)
        cache = MemoryCache() if redis is None else RedisCache(redis)
        self._use(make_parts(name, checked, Surroundings(cache=cache)))

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """A connection of parts that are there already."""
        made = cls.__new__(cls)
        made._use(parts)
        return made

    @classmethod
    def like(cls, other: _OnConnection[Any]) -> Self:
        """The same connection in this form, with the same tokens and connections: sync and async share."""
        return cls.of(other._parts)

    def _use(self, parts: Parts) -> None:
        super().__init__(parts.calling, parts.definition.url, parts.name, parts.auth)
        self._parts = parts
        #: Its name.
        self.name = parts.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.origin}>"

    def with_token(self, token: str) -> Self:
        """The same connection, forwarding this bearer token: for where there is no request.

        :raises NotAuthenticated: where the token is the platform's, or none that its definition lets through.
        """
        forward = self._parts.definition.auth
        if not isinstance(forward, Forward):
            raise ConfigurationError(f"The connection '{self.name}' forwards no token: see its 'auth'.")
        foreign = forward.admit(token)
        return self.of(replace(self._parts, auth=ForwardAuth(lambda: foreign)))

    def close(self) -> None:
        """Close the connections of its sync form; the next call opens new ones."""
        self._calling.http.close()

    def _url(self, path: str) -> httpx2.URL:
        """Also takes a whole URL, as back ends write them into links, of the same origin."""
        if not isinstance(path, str) or not path.startswith(("http://", "https://")):
            return super()._url(path)
        if has_dots(path):
            raise ValueError("A URL of a call has no segment '.' or '..'.")
        url = parse_url(path)
        if origin_of(url) != origin_of(parse_url(self.origin)):
            raise ValueError(f"The connection '{self.name}' calls {self.origin}, and no other origin.")
        return url

    def _answer(self, response: httpx2.Response) -> ConnectionResponse:
        return self.response_class.of(response, self.name)

    def _unavailable(self, detail: str) -> ConnectionUnavailable:
        said = f"The connection '{self.name}' cannot be used: {detail}"
        return ConnectionUnavailable(said, connection=self.name)


class Connection(_OnConnection[ConnectionResponse], SyncClient[ConnectionResponse]):
    """Calls one back end, and knows how to log in to it. Paths are relative: ``/weather``.

    The seconds of a call are the definition's ``timeout``; one without an answer raises
    :class:`~flask_orbro.errors.ConnectionUnavailable`.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncConnection(_OnConnection[Awaitable[ConnectionResponse]], AsyncClient[ConnectionResponse]):
    """As :class:`Connection`, to be awaited."""

    async def aclose(self) -> None:
        """Close its connections in the running event loop, which else does so when it ends."""
        await self._calling.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
