"""Servers below HTTP, which answer with raw bytes or say nothing, and a pool to ask them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from flask_orbro.http.pool import HttpPool

Respond = Callable[[socket.socket, bytes], None]
MakeServer = Callable[..., "RawServer"]


class RawServer:
    """Answers every request on a connection with raw bytes, and keeps what it was sent."""

    def __init__(self, respond: Respond, tls: ssl.SSLContext | None = None) -> None:
        self._respond = respond
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(5)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while head := self._head(connection):
                self.requests.append(head)
                self._respond(connection, head)
        except OSError:
            pass
        finally:
            connection.close()

    def _head(self, connection: socket.socket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = connection.recv(1)
            if not more:
                return b""
            head += more
        return head

    def close(self) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def fixed(raw: bytes, *, close: bool = False) -> Respond:
    def respond(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(raw)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return respond


@contextmanager
def pool(**options: float) -> Iterator[HttpPool]:
    made = HttpPool(**{"size": 4, "connect_timeout": 1, "request_timeout": 1} | options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(name="server")
def server_fixture() -> Iterator[Callable[..., RawServer]]:
    with ExitStack() as stack:

        def start(respond: Respond, tls: ssl.SSLContext | None = None) -> RawServer:
            made = RawServer(respond, tls)
            stack.callback(made.close)
            return made

        yield start


@pytest.fixture(name="http")
def http_fixture() -> Iterator[HttpPool]:
    with pool() as made:
        yield made


@contextmanager
def hanging() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """A port on which connections are neither taken nor refused: its queue is full, so Linux drops them."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = server.getsockname()[1]
        for _ in range(16):
            try:
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.2))
            except TimeoutError:
                yield port
                return
        raise AssertionError("This system does not drop connections when a queue is full.")
