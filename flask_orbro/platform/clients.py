"""Clients that call one origin of the platform, sync and async."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from ..errors import PlatformUnavailable
from ..http.calling import AsyncClient, Call, Calling, Client, SyncClient
from ..http.options import ONE_BODY
from ..http.server_clock import TIMES, ServerClock
from .response import PlatformResponse, as_platform_response

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class PlatformCalling(Calling):
    """:param clock: learns the platform's time from its answers."""

    clock: ServerClock


class _OnPlatform(Client[PlatformResponse, R]):
    """What the platform's clients add to the rules of a call."""

    _calling: PlatformCalling

    def _answer(self, response: httpx2.Response) -> PlatformResponse:
        self._calling.clock.observe(response.headers, response.extensions.get(TIMES))
        return as_platform_response(response)

    def _unavailable(self, detail: str) -> PlatformUnavailable:
        return PlatformUnavailable(f"The platform cannot be called: {detail}", retry_after=1)

    def post(self, path: str, data: Any = None, **options: Any) -> R:
        return self.request("POST", path, data=data, **options)

    def put(self, path: str, data: Any = None, **options: Any) -> R:
        return self.request("PUT", path, data=data, **options)

    def patch(self, path: str, data: Any = None, **options: Any) -> R:
        return self.request("PATCH", path, data=data, **options)

    def _prepare(self, method: str, path: str, options: dict[str, Any]) -> Call:
        if "auth" in options:
            raise TypeError("'auth' is no option of a call to the platform, which knows tokens alone.")
        data = options.pop("data", None)
        if data is not None:
            options |= _body(data, options)
        return super()._prepare(method, path, options)


class PlatformClient(_OnPlatform[PlatformResponse], SyncClient[PlatformResponse]):
    """Calls one origin of the platform. Paths are relative: ``/api/v1/users``.

    ``data`` that is a dict or a list is sent as JSON; beside ``files`` it is the form's other fields. The
    seconds of a call are ``ORBRO_CALL_BUDGET``; one without an answer raises :class:`PlatformUnavailable`.
    """


class AsyncPlatformClient(_OnPlatform[Awaitable[PlatformResponse]], AsyncClient[PlatformResponse]):
    """As :class:`PlatformClient`, to be awaited."""


def _body(data: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What ``data`` is for the HTTP library: the platform speaks JSON, and its old SDK sent it so."""
    if options.get("json") is not None or options.get("content") is not None:
        raise ValueError(ONE_BODY)
    if options.get("files") and isinstance(data, dict):
        return {"data": data}
    if isinstance(data, dict | list) and not options.get("files"):
        return {"json": data}
    raise TypeError("'data' is a dict, or without 'files' a list; anything else is 'content'.")
