"""The Microsoft Entra sidecar: a server beside the app that gets tokens, or calls other APIs with them.

The calls are those of Microsoft's OpenAPI document of ``Microsoft.Identity.Web.Sidecar``. The sidecar has
services by name in its own configuration, such as ``graph``.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, Unpack, cast
from urllib.parse import quote

from ..errors import (
    ConnectionFailed,
    ConnectionRateLimited,
    ConnectionRefused,
    ConnectionUnavailable,
    InvalidRequest,
)
from ..http.outgoing import is_path
from ..http.retry import is_repeatable
from ..verdicts import retry_after
from .auth import Forward, HeaderAuth
from .connection import AsyncConnection, Connection, Parts
from .forwarding import forwardable
from .response import ConnectionResponse

#: A header, and an answer, or these to be awaited.
S = TypeVar("S")
D = TypeVar("D")
T = TypeVar("T")


class SidecarRefused(ConnectionRefused):
    """The sidecar itself answered 4xx. 401: the user's token will not do, or the user has not consented.

    :ivar problem: its problem document: ``title``, ``status``, ``detail``.
    """

    default_reason = "sidecar_refused"

    @property
    def problem(self) -> dict[str, Any]:
        """Empty where it sent none."""
        try:
            found = self.answer.json()
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class DownstreamRefused(ConnectionRefused):
    """The service behind the sidecar answered 4xx; ``answer.content`` is what it said."""

    default_reason = "downstream_refused"
    answer: DownstreamAnswer


@dataclass(frozen=True)
class DownstreamAnswer:
    """What a service behind the sidecar answered.

    :param headers: those of its content.
    :param content: its body as text.
    """

    status: int
    headers: Mapping[str, Sequence[str]] = field(repr=False)
    content: str | None = field(repr=False)

    def json(self) -> Any:
        """The content, parsed; ``None`` where there is none. :raises ValueError: it is not JSON."""
        return None if not self.content else jsonlib.loads(self.content)


class SidecarResponse(ConnectionResponse):
    """What the sidecar answered."""

    def as_error(self) -> ConnectionFailed:
        error = super().as_error()
        if not isinstance(error, ConnectionRefused):
            return error
        return SidecarRefused(
            f"The sidecar '{self.connection}' answered {error.status}.",
            connection=self.connection,
            status=error.status,
            answer=self,
        )

    def authorization_header(self) -> str:
        """:raises ConnectionFailed: a status of 400 or more, or no header."""
        self.raise_for_status()
        header = self.json_object().get("authorizationHeader")
        if not isinstance(header, str):
            raise self._not_as_agreed()
        return header

    def downstream(self) -> DownstreamAnswer:
        """The service's answer.

        :raises ConnectionFailed: a status of 400 or more, the sidecar's or the service's.
        """
        self.raise_for_status()
        result = self.json_object()
        status, headers, content = (result.get(name) for name in ("statusCode", "headers", "content"))
        if not (isinstance(headers, dict) and isinstance(content, str | None)):
            raise self._not_as_agreed()
        try:
            # Its document allows digits as text.
            answer = DownstreamAnswer(int(status), headers, content)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self._not_as_agreed() from None
        if not all(isinstance(values, list) for values in answer.headers.values()):
            raise self._not_as_agreed()
        if answer.status >= 400:
            raise self._downstream_error(answer)
        return answer

    def _downstream_error(self, answer: DownstreamAnswer) -> ConnectionFailed:
        said = f"The service behind the sidecar '{self.connection}' answered {answer.status}."
        whose: dict[str, Any] = {"connection": self.connection, "answer": answer}
        told = {name.lower(): str(values[0]) for name, values in answer.headers.items() if values}
        wanted = retry_after(told) or 1
        if answer.status == 429:
            return ConnectionRateLimited(said, retry_after=wanted, **whose)
        if answer.status >= 500:
            return ConnectionUnavailable(said, status=answer.status, retry_after=wanted, **whose)
        return DownstreamRefused(said, status=answer.status, **whose)

    def _not_as_agreed(self) -> ConnectionUnavailable:
        return ConnectionUnavailable(
            f"The sidecar '{self.connection}' did not answer as its contract says.",
            connection=self.connection,
            status=self.status_code,
            answer=self,
        )


class ActsAs(TypedDict, total=False):
    """As whom the sidecar acts: options of every call.

    :ivar user_token: the bearer token of the user. Without it, and where the definition's ``auth`` does not
        forward one, the sidecar acts as the app itself, which it must have been told to allow.
    :ivar scopes: asked for instead of the configured ones.
    :ivar tenant: a GUID or a domain.
    :ivar request_app_token: act as the app although there is a user.
    :ivar agent_identity: client id of an agent; with ``agent_username`` or ``agent_user_id``, of its user.
    """

    user_token: str
    scopes: Sequence[str]
    tenant: str
    request_app_token: bool
    agent_identity: str
    agent_username: str
    agent_user_id: str


class _OnSidecar(Generic[S, D]):
    """The calls: as the user whose token is given or forwarded, or as the app; see :class:`ActsAs`."""

    kind: ClassVar[str] = "entra-sidecar"
    response_class: ClassVar[type[ConnectionResponse]] = SidecarResponse
    _parts: Parts

    def authorization_header(self, service: str, **options: Unpack[ActsAs]) -> S:
        """The value of an ``Authorization`` header for calls to a service: a secret.

        :raises SidecarRefused: the sidecar answered 4xx.
        """
        path, sent = self._asking("AuthorizationHeader", service, options)
        return cast(S, self._send(SidecarResponse.authorization_header, "GET", path, **sent))

    def call(
        self,
        service: str,
        relative_path: str,
        method: str = "GET",
        *,
        json: Any = None,
        **options: Unpack[ActsAs],
    ) -> D:
        """Have the sidecar call a service.

        :param service: its name in the sidecar's configuration.
        :param relative_path: what follows its base URL there, such as ``me/messages?$top=5``.
        :param json: the body.
        :raises InvalidRequest: where the path could lead elsewhere.
        :raises DownstreamRefused: the service answered 4xx.
        :raises SidecarRefused: the sidecar itself did.
        """
        if not is_path("/" + relative_path.removeprefix("/")) or "://" in relative_path.partition("?")[0]:
            raise InvalidRequest(
                "A relative path has no spaces, no backslashes and no segment '..', and names no host.",
                reason="sidecar_path_invalid",
            )
        method = method.upper()
        override = {"RelativePath": relative_path, "HttpMethod": method}
        path, sent = self._asking("DownstreamApi", service, options, override)
        if json is not None:
            sent["json"] = json
        # What is posted to the sidecar may be sent twice where the method that it calls with may.
        sent["retry"] = is_repeatable(method, {}, None)
        return cast(D, self._send(SidecarResponse.downstream, "POST", path, **sent))

    def _asking(
        self, endpoint: str, service: str, options: ActsAs, override: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """The path, and the arguments of ``request``."""
        if unknown := set(options) - set(ActsAs.__annotations__):
            raise TypeError(f"The sidecar has no option {', '.join(sorted(unknown))}.")
        sent: dict[str, Any] = {"params": _query(options, override or {})}
        if "user_token" in options:
            # None is no token: it must not quietly become the app's own.
            token = forwardable(options["user_token"] or "")
            sent["auth"] = HeaderAuth("Authorization", f"Bearer {token}")
        elif not isinstance(self._parts.definition.auth, Forward):
            endpoint += "Unauthenticated"
        if service in ("", ".", ".."):
            raise ValueError("A service has a name.")
        return f"/{endpoint}/{quote(service, safe='')}", sent

    def _send(self, read: Callable[[SidecarResponse], T], method: str, path: str, **sent: Any) -> Any:
        raise NotImplementedError


class SidecarClient(_OnSidecar[str, DownstreamAnswer], Connection):
    """Calls a sidecar; a connection of the kind ``entra-sidecar``, or alone.

    :param base_url: where it is; by default ``SIDECAR_URL`` of the environment.
    :param name: for messages and logs.
    :param definition: further keys of a connection's definition, such as ``timeout``.
    :raises ConfigurationError: naming every fault.
    """

    def __init__(self, base_url: str | None = None, *, name: str = "sidecar", **definition: Any) -> None:
        super().__init__(name, _definition(base_url, definition))

    def _send(self, read: Callable[[SidecarResponse], T], method: str, path: str, **sent: Any) -> T:
        return read(cast(SidecarResponse, self.request(method, path, **sent)))


class AsyncSidecarClient(_OnSidecar[Awaitable[str], Awaitable[DownstreamAnswer]], AsyncConnection):
    """As :class:`SidecarClient`, to be awaited."""

    def __init__(self, base_url: str | None = None, *, name: str = "sidecar", **definition: Any) -> None:
        super().__init__(name, _definition(base_url, definition))

    async def _send(self, read: Callable[[SidecarResponse], T], method: str, path: str, **sent: Any) -> T:
        return read(cast(SidecarResponse, await self.request(method, path, **sent)))


def _definition(base_url: str | None, more: dict[str, Any]) -> dict[str, Any]:
    url = {} if base_url is None else {"url": base_url}
    return {**url, **more}


def _query(options: ActsAs, override: Mapping[str, str]) -> list[tuple[str, str]]:
    scopes = options.get("scopes", ())
    scopes = scopes.split() if isinstance(scopes, str) else scopes
    overrides = [*override.items(), *(("Scopes", scope) for scope in scopes)]
    if options.get("request_app_token"):
        overrides.append(("RequestAppToken", "true"))
    if "tenant" in options:
        overrides.append(("AcquireTokenOptions.Tenant", options["tenant"]))
    agent = {
        "AgentIdentity": options.get("agent_identity"),
        "AgentUsername": options.get("agent_username"),
        "AgentUserId": options.get("agent_user_id"),
    }
    return [
        *((name, value) for name, value in agent.items() if value is not None),
        *((f"optionsOverride.{name}", value) for name, value in overrides),
    ]
