"""Where sockets are opened: names under ``.localhost``, and patience that ends on time.

The HTTP library bounds each read, not the whole answer, so a server that sends a byte now and then
could hold a caller for as long as it likes. Within :func:`patience` every read is cut into slices, and
what is left of the time, or somebody's second thoughts, is looked at between two slices.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

#: How long one slice of a read is, in seconds.
SLICE = 0.1


@dataclass(frozen=True)
class Patience:
    """:param deadline: of the monotonic clock, in seconds.
    :param keep_waiting: asked between two slices; ``False`` gives up before the deadline.
    """

    deadline: float
    keep_waiting: Callable[[], bool]

    def left(self) -> float:
        return self.deadline - time.monotonic()


_patience: ContextVar[Patience | None] = ContextVar("orbro_patience", default=None)


@contextmanager
def patience(seconds: float, keep_waiting: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Bound everything that is read in this context."""
    token = _patience.set(Patience(time.monotonic() + seconds, keep_waiting))
    try:
        yield
    finally:
        _patience.reset(token)


class PatientStream(httpcore2.NetworkStream):
    """A connection whose reads obey :func:`patience`."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        bounds = _patience.get()
        if bounds is None:
            return self._inner.read(max_bytes, timeout)
        until = time.monotonic() + (bounds.left() if timeout is None else timeout)
        while True:
            left = min(bounds.left(), until - time.monotonic())
            if left <= 0:
                raise httpcore2.ReadTimeout("The answer takes too long.")
            try:
                return self._inner.read(max_bytes, min(left, SLICE))
            except httpcore2.ReadTimeout:
                if not bounds.keep_waiting():
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _bounded(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return PatientStream(self._inner.start_tls(ssl_context, server_hostname, _bounded(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore2.SyncBackend):
    """Opens connections; names under ``.localhost`` are loopback (RFC 6761, section 6.3)."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        bounds = _patience.get()
        if bounds is not None:
            left = max(bounds.left(), 0.001)
            timeout = left if timeout is None else min(timeout, left)
        return PatientStream(
            super().connect_tcp(_address(host), port, timeout, local_address, socket_options)
        )


class AsyncBackend(httpcore2.AnyIOBackend):
    """As :class:`Backend`, without patience: an event loop has timeouts of its own."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return await super().connect_tcp(_address(host), port, timeout, local_address, socket_options)


def _bounded(timeout: float | None) -> float | None:
    """A timeout that ends with our patience."""
    bounds = _patience.get()
    if bounds is None:
        return timeout
    left = max(bounds.left(), 0.001)
    return left if timeout is None else min(timeout, left)


def _address(host: str) -> str:
    # Many system resolvers do not know such names. The TLS name is told apart, so it stays.
    return "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host


class Transport(httpx2.HTTPTransport):
    """The HTTP library's transport over our :class:`Backend`."""

    def __init__(self, *, tls: ssl.SSLContext, limits: httpx2.Limits) -> None:
        super().__init__(verify=tls, limits=limits)
        # The library offers no argument for the backend.
        self._pool = httpcore2.ConnectionPool(network_backend=Backend(), **_pool(tls, limits))


class AsyncTransport(httpx2.AsyncHTTPTransport):
    """The HTTP library's asynchronous transport over our :class:`AsyncBackend`."""

    def __init__(self, *, tls: ssl.SSLContext, limits: httpx2.Limits) -> None:
        super().__init__(verify=tls, limits=limits)
        self._pool = httpcore2.AsyncConnectionPool(network_backend=AsyncBackend(), **_pool(tls, limits))


def _pool(tls: ssl.SSLContext, limits: httpx2.Limits) -> dict[str, Any]:
    return {
        "ssl_context": tls,
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
    }
