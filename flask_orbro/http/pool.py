"""One pooled HTTP client per app and process, and one way to ask a question with an answer in time."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
from httpx2._utils import get_environment_proxies

from ..protocol import USER_AGENT
from .forks import ProcessLock
from .network import AsyncTransport, Transport, patience
from .server_clock import TIMES, Times

#: An answer to a question about a credential is never longer, in bytes.
MAX_ANSWER = 65_536
#: What never goes through a proxy, as the library's patterns.
LOOPBACK = ("all://*localhost", "all://127.0.0.0/8", "all://[::1]")


#: Parses a URL that is asked for again and again once. It is for URLs without a query.
parsed_url = lru_cache(maxsize=4096)(httpx2.URL)


class Unreachable(Exception):
    """There was no whole answer in time. ``reason`` is the kind of failure, without any URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """A short answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    times: Times | None = field(default=None, repr=False)


class HttpPool:
    """Keeps one :class:`httpx2.Client`, made when first used and anew after a fork.

    :param size: connections at most.
    :param connect_timeout: seconds.
    :param request_timeout: seconds, for each read and write and for a free connection.
    :param user_agent: of every request.
    :param headers: of every call, beside it; :meth:`ask` sends none of them.
    :param verify: a file or folder of certificate authorities; ``True``: those of the system and of
        certifi, ``False``: whoever answers is believed.
    """

    def __init__(
        self,
        *,
        size: int,
        connect_timeout: float,
        request_timeout: float,
        user_agent: str = USER_AGENT,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
    ) -> None:
        self._size = size
        self._user_agent = user_agent
        self._headers = httpx2.Headers({"User-Agent": user_agent})
        self._headers.update(headers)
        self._verify = verify
        self._timeout = httpx2.Timeout(request_timeout, connect=connect_timeout)
        self._lock = ProcessLock()
        self._tls_lock = ProcessLock()
        self._tls: ssl.SSLContext | None = None
        self._client: httpx2.Client | None = None
        self._pid = 0
        self._async_clients: dict[
            asyncio.AbstractEventLoop, tuple[httpx2.AsyncClient, AsyncGenerator[None]]
        ] = {}

    def _trust(self) -> ssl.SSLContext:
        # One for all clients: to read the certificate store costs more than a call.
        with self._tls_lock:
            if self._tls is None:
                self._tls = _trusting(self._verify)
            return self._tls

    @property
    def client(self) -> httpx2.Client:
        """The client of this process. It follows no redirect and keeps no cookie."""
        client = self._client
        if client is not None and self._pid == os.getpid():
            return client
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client, self._pid = httpx2.Client(**self._options(Transport)), os.getpid()
            return self._client

    async def async_client(self) -> httpx2.AsyncClient:
        """The client of the running event loop, which closes it when it ends."""
        loop = asyncio.get_running_loop()
        known = self._async_clients.get(loop)
        if known is None:
            self._forget_closed_loops()
            client = httpx2.AsyncClient(**self._options(AsyncTransport))
            # An event loop ends its asynchronous generators when it is closed: the one way to be told.
            closing = _closing(client, lambda: self._async_clients.pop(loop, None))
            await anext(closing)
            known = self._async_clients[loop] = (client, closing)
        return known[0]

    def _forget_closed_loops(self) -> None:
        """Drop the clients of those that were closed and not ended: nobody can close them any more."""
        for loop in list(self._async_clients):
            if loop.is_closed():
                self._async_clients.pop(loop, None)

    def _options(self, transport_class: type[Any]) -> dict[str, Any]:
        limits = httpx2.Limits(
            max_connections=self._size, max_keepalive_connections=self._size, keepalive_expiry=30
        )
        tls = self._trust()
        direct = transport_class(tls=tls, limits=limits)
        proxied = {
            pattern: transport_class(tls=tls, limits=limits, proxy=proxy) if proxy else direct
            for pattern, proxy in get_environment_proxies().items()
        }
        return {
            "verify": tls,
            "limits": limits,
            "timeout": self._timeout,
            "headers": self._headers,
            "follow_redirects": False,
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            "transport": direct,
            # With a transport given, the client does not look at HTTPS_PROXY and NO_PROXY itself.
            "mounts": proxied | dict.fromkeys(LOOPBACK, direct),
        }

    def ask(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: float,
        form: bytes | None = None,
        keep_waiting: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """GET a short answer; once more where a connection broke before there was one.

        :param form: sent instead, with POST: a form that is encoded.
        :param timeout: seconds for all of it: connecting, waiting, reading and asking again.
        :param keep_waiting: looked at while waiting; ``False`` gives up at once.
        :raises Unreachable: where there is no whole answer of at most :data:`MAX_ANSWER` bytes in time.
        """
        with patience(timeout, keep_waiting):
            try:
                return self._ask(url, headers, form, timeout)
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                pass  # a kept connection that the other side had closed
            except httpx2.HTTPError as error:
                raise Unreachable(type(error).__name__) from None
            try:
                return self._ask(url, headers, form, timeout)
            except httpx2.HTTPError as error:
                raise Unreachable(type(error).__name__) from None

    def _ask(self, url: str, headers: Mapping[str, str], form: bytes | None, timeout: float) -> Answer:
        body = bytearray()
        connect = min(timeout, self._timeout.connect or timeout)
        # Built by hand: nothing of what the client would merge into a request is wanted here.
        usual = {"User-Agent": self._user_agent, "Accept": "application/json"}
        if form is not None:
            usual["Content-Type"] = "application/x-www-form-urlencoded"
        request = httpx2.Request(
            "GET" if form is None else "POST",
            parsed_url(url),
            headers=usual | dict(headers),
            content=form,
            extensions={"timeout": httpx2.Timeout(timeout, connect=connect).as_dict()},
        )
        response = self.client.send(request, stream=True)
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise Unreachable("answer_too_long")
        finally:
            response.close()
        times = response.extensions.get(TIMES)
        return Answer(response.status_code, response.headers, bytes(body), times)

    def close(self) -> None:
        """Close the pool; the next use makes a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    async def aclose(self) -> None:
        """Close the client of the running event loop; the next use there makes a new one."""
        known = self._async_clients.pop(asyncio.get_running_loop(), None)
        if known is not None:
            await known[1].aclose()


def _trusting(verify: bool | str) -> ssl.SSLContext:
    return trusting(verify) if isinstance(verify, str) else httpx2.create_ssl_context(verify=verify)


def trusting(authorities: str) -> ssl.SSLContext:
    """Believes the certificate authorities of a file, or of a folder, alone.

    :raises OSError: where there are none; :class:`ssl.SSLError` is one.
    """
    if os.path.isdir(authorities):
        return ssl.create_default_context(capath=authorities)
    return ssl.create_default_context(cafile=authorities)


async def _closing(client: httpx2.AsyncClient, forget: Callable[[], object]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        forget()
        await client.aclose()
