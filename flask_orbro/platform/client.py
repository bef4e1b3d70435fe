"""Clients that call one origin of the platform, sync and async, from one set of rules."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import anyio
import httpx2
import tenacity

from ..bulkhead import Bulkhead, Full
from ..errors import PlatformUnavailable
from ..http import HttpPool, parsed_url
from ..logs import get_logger
from ..metrics import Metrics
from ..network import patience
from ..retry import RetryPolicy, is_repeatable
from ..server_clock import ServerClock
from .response import PlatformResponse, as_platform_response

logger = get_logger(__name__)

R = TypeVar("R")
_PATH = re.compile(r"/(?!/)[^\s\\\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class Calling:
    """What all clients of an app share."""

    http: HttpPool
    retries: RetryPolicy
    bulkhead: Bulkhead
    metrics: Metrics
    platform_clock: ServerClock


class _Client(Generic[R]):
    """The rules of a call. ``R`` is a response, or an awaitable one.

    :param origin: where the calls go.
    :param tenant: what the number of calls at once is counted by.
    """

    def __init__(self, calling: Calling, origin: str, tenant: str, auth: httpx2.Auth) -> None:
        self._calling = calling
        self._tenant = tenant
        self._auth = auth
        #: Where the calls go: ``https://{subdomain}.{host}``.
        self.origin = origin

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.origin}>"

    def request(self, method: str, path: str, **options: Any) -> R:
        raise NotImplementedError

    def get(self, path: str, **options: Any) -> R:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> R:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> R:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> R:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> R:
        return self.request("DELETE", path, **options)

    def head(self, path: str, **options: Any) -> R:
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Any) -> R:
        return self.request("OPTIONS", path, **options)

    def _prepare(
        self, method: str, path: str, options: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments of the HTTP client, and those of :mod:`tenacity`."""
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ValueError(f"A path on the platform begins with one '/': {path!r} does not.")
        opted_in = options.pop("retry", None)
        if isinstance(options.get("data"), dict | list):
            options["json"] = options.pop("data")
        repeatable = is_repeatable(method, options.get("headers") or {}, opted_in)
        url = parsed_url(self.origin + path)
        arguments = {"method": method, "url": url, "auth": self._auth, **options, "follow_redirects": False}
        return arguments, self._calling.retries.options(repeatable=repeatable)

    @contextmanager
    def _watched(self, method: str) -> Iterator[Callable[[httpx2.Response], PlatformResponse]]:
        """Count a call, bound the number of them, learn the platform's time, and type what goes wrong."""
        began, outcome = time.monotonic(), "failed"

        def answered(response: httpx2.Response) -> PlatformResponse:
            nonlocal outcome
            outcome = f"{response.status_code // 100}xx"
            self._calling.platform_clock.observe(response.headers.get("date"))
            return as_platform_response(response)

        try:
            with self._calling.bulkhead(self._tenant):
                yield answered
        except Full:
            outcome = "full"
            raise PlatformUnavailable(
                "Too many calls for this organization are under way.", retry_after=1
            ) from None
        except httpx2.StreamConsumed as error:
            raise PlatformUnavailable(
                "The call has to be sent again, and its body, a stream, cannot be: make the call anew.",
                retry_after=1,
            ) from error
        except (httpx2.RequestError, TimeoutError) as error:
            logger.warning("%s %s: %s.", method, self.origin, type(error).__name__)
            raise PlatformUnavailable("The platform does not answer.", retry_after=1) from error
        finally:
            self._calling.metrics.call(method, outcome, time.monotonic() - began)


class PlatformClient(_Client[PlatformResponse]):
    """Calls one origin of the platform. Paths are relative: ``/api/v1/users``."""

    def request(self, method: str, path: str, **options: Any) -> PlatformResponse:
        """Send one request; what is safe to repeat is sent again where it failed in passing.

        :param path: begins with one slash; anything that could name another host is refused.
        :param options: as :meth:`httpx2.Client.request` takes them. ``data`` that is a dict or a list
            is sent as JSON: the platform speaks JSON, and its old SDK did so. ``retry=True`` lets a
            ``POST`` or ``PATCH`` be sent again, ``retry=False`` nothing.
        :returns: the response, whatever its status.
        :raises PlatformUnavailable: where there is none within ``ORBRO_CALL_BUDGET``.
        """
        arguments, policy = self._prepare(method, path, options)
        with self._watched(method) as answered, patience(self._calling.retries.budget):
            send = self._calling.http.client.request
            return answered(tenacity.Retrying(**policy)(send, **arguments))

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[PlatformResponse]:
        """As :meth:`request`, once, with a body that is read as it comes: ``iter_bytes()``."""
        arguments, _ = self._prepare(method, path, options)
        with self._watched(method) as answered, self._calling.http.client.stream(**arguments) as response:
            yield answered(response)


class AsyncPlatformClient(_Client[Awaitable[PlatformResponse]]):
    """As :class:`PlatformClient`, to be awaited."""

    async def request(self, method: str, path: str, **options: Any) -> PlatformResponse:
        """As :meth:`PlatformClient.request`."""
        arguments, policy = self._prepare(method, path, options)
        with self._watched(method) as answered, anyio.fail_after(self._calling.retries.budget):
            send = (await self._calling.http.async_client()).request
            return answered(await tenacity.AsyncRetrying(**policy)(send, **arguments))

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[PlatformResponse]:
        """As :meth:`PlatformClient.stream`, with ``aiter_bytes()``."""
        arguments, _ = self._prepare(method, path, options)
        client = await self._calling.http.async_client()
        with self._watched(method) as answered:
            async with client.stream(**arguments) as response:
                yield answered(response)
