"""Where sockets are opened: names under ``.localhost``, and patience that ends on time.

The HTTP library bounds each step, not all of them, so a server that sends a byte now and then could
hold a caller for as long as it likes. Within :func:`patience` a connection is opened, TLS agreed on and
an answer read in slices, and what is left of the time, or somebody's second thoughts, is looked at
between two slices.
"""

from __future__ import annotations

import errno
import math
import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, TypeVar

import httpcore2
import httpx2

# The library's stream over a socket, which it gives no public name.
from httpcore2._backends.sync import SyncStream

from .event_loop import GivenBackStream
from .server_clock import TIMES

T = TypeVar("T")

#: How long one slice of waiting is, in seconds.
SLICE = 0.1
#: How much is written at once, in bytes.
PIECE = 65_536


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


_ends: ContextVar[float] = ContextVar("orbro_calls_end", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Every call that is made in this context ends by then, with all its attempts."""
    token = _ends.set(min(time.monotonic() + seconds, _ends.get()))
    try:
        yield
    finally:
        _ends.reset(token)


def seconds_left() -> float:
    """Until the :func:`deadline` of this context; infinite where there is none."""
    return _ends.get() - time.monotonic()


@contextmanager
def patience(seconds: float, keep_waiting: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Bound every connection that is opened, and everything that is read, in this context.

    By no more than what is left of the time of a call, or of a patience, that this is within.
    """
    token = _begin_patience(min(time.monotonic() + seconds, _ends.get()), keep_waiting)
    try:
        yield
    finally:
        _patience.reset(token)


def _begin_patience(ends: float, keep_waiting: Callable[[], bool]) -> Token[Patience | None]:
    outer = _patience.get()
    return _patience.set(Patience(ends if outer is None else min(ends, outer.deadline), keep_waiting))


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """A :func:`deadline` with the :func:`patience` to keep it, for calls that are waited for."""
    ends = min(time.monotonic() + seconds, _ends.get())
    ended = _ends.set(ends)
    token = _begin_patience(ends, lambda: True)
    try:
        yield
    finally:
        _patience.reset(token)
        _ends.reset(ended)


def _in_slices(
    step: Callable[[float | None], T], timeout: float | None, too_late: type[httpcore2.TimeoutException]
) -> T:
    """Take a step that can be taken again where the seconds it was given were too few.

    :param too_late: raised where it takes longer than ``timeout`` seconds, or than our patience.
    """
    bounds = _patience.get()
    if bounds is None:
        try:
            return step(timeout)
        except TimeoutError as error:
            raise too_late(str(error)) from error
    until = time.monotonic() + (bounds.left() if timeout is None else timeout)
    while True:
        left = min(bounds.left(), until - time.monotonic())
        if left <= 0:
            raise too_late("It takes too long.")
        try:
            return step(min(left, SLICE))
        except (TimeoutError, httpcore2.TimeoutException):
            if not bounds.keep_waiting():
                raise too_late("It is not worth waiting for.") from None


class PatientStream(httpcore2.NetworkStream):
    """A connection that obeys :func:`patience`."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _in_slices(
            lambda seconds: self._inner.read(max_bytes, seconds), timeout, httpcore2.ReadTimeout
        )

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: the timeout is for each time that something is taken.
        for start in range(0, len(buffer), PIECE):
            self._inner.write(buffer[start : start + PIECE], _bounded(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        plain = self._inner.get_extra_info("socket")
        if isinstance(plain, ssl.SSLSocket):
            # TLS within a proxy's TLS: the library knows how, and only in one piece.
            return PatientStream(self._inner.start_tls(ssl_context, server_hostname, _bounded(timeout)))
        with _connecting(plain):
            secure = ssl_context.wrap_socket(
                plain, server_hostname=server_hostname, do_handshake_on_connect=False
            )
        with _connecting(secure):
            _in_slices(lambda seconds: _shake_hands(secure, seconds), timeout, httpcore2.ConnectTimeout)
        return PatientStream(SyncStream(secure))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore2.SyncBackend):
    """Opens connections; names under ``.localhost`` are loopback (RFC 6761, section 6.3).

    ``local_address`` and ``socket_options`` are what our transports never ask for.
    """

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        with _connecting():
            found = socket.getaddrinfo(_address(host), port, type=socket.SOCK_STREAM)
        failure: Exception = httpcore2.ConnectError("The name has no address.")
        for family, kind, protocol, _, address in found:
            try:
                return PatientStream(SyncStream(_opened((family, kind, protocol), address, timeout)))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


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
        with _connecting():
            return await super().connect_tcp(_address(host), port, timeout, local_address, socket_options)


def _opened(kind: tuple[int, int, int], address: Any, timeout: float | None) -> socket.socket:
    """A socket of a kind that is connected to an address."""
    with _connecting():
        connection = socket.socket(*kind)
    with _connecting(connection), selectors.DefaultSelector() as selector:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        outcome = connection.connect_ex(address)
        if outcome in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            selector.register(connection, selectors.EVENT_WRITE)
            _in_slices(lambda seconds: _wait_for(selector, seconds), timeout, httpcore2.ConnectTimeout)
            outcome = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if outcome:
            raise OSError(outcome, os.strerror(outcome))
    return connection


def _wait_for(selector: selectors.BaseSelector, seconds: float | None) -> None:
    if not selector.select(seconds):
        raise TimeoutError


def _shake_hands(secure: ssl.SSLSocket, seconds: float | None) -> None:
    secure.settimeout(seconds)
    secure.do_handshake()


@contextmanager
def _connecting(connection: socket.socket | None = None) -> Iterator[None]:
    """Close a socket that did not become a connection, and tell it in the library's way."""
    try:
        yield
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError | UnicodeError):  # a name that no name server can be asked for
            raise httpcore2.ConnectError(str(error)) from error
        raise


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
    """The HTTP library's transport, directly or by a proxy, over our :class:`Backend`."""

    def __init__(self, *, tls: ssl.SSLContext, limits: httpx2.Limits, proxy: str | None = None) -> None:
        super().__init__(verify=tls, limits=limits, proxy=_proxy(proxy))
        # The library offers no argument for the backend.
        self._pool._network_backend = Backend()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        # To wait for a free connection is to wait, too.
        timeouts = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {**timeouts, "pool": _bounded(timeouts.get("pool"))}
        sent = time.monotonic()
        response = super().handle_request(request)
        response.extensions[TIMES] = (sent, time.monotonic())
        return response


class AsyncTransport(httpx2.AsyncHTTPTransport):
    """The HTTP library's asynchronous transport, likewise, over our :class:`AsyncBackend`."""

    def __init__(self, *, tls: ssl.SSLContext, limits: httpx2.Limits, proxy: str | None = None) -> None:
        super().__init__(verify=tls, limits=limits, proxy=_proxy(proxy))
        self._pool._network_backend = AsyncBackend()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        sent = time.monotonic()
        response = await super().handle_async_request(request)
        response.extensions[TIMES] = (sent, time.monotonic())
        response.stream = GivenBackStream(response.stream)
        return response


def _proxy(url: str | None) -> httpx2.Proxy | None:
    if url is None:
        return None
    # A proxy with TLS of its own is believed as any server is. Without a context the library would read the
    # certificate store again for each connection.
    tls = httpx2.create_ssl_context() if url.lower().startswith("https:") else None
    return httpx2.Proxy(url, ssl_context=tls)
