"""Opening a connection obeys patience as reading does: in time, and no longer than it is worth."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpcore2
import pytest
import trustme

from flask_orbro.http.network import AsyncBackend, Backend, deadline, patience
from flask_orbro.http.pool import HttpPool, Unreachable

from .raw_server import (  # noqa: F401
    MakeServer,
    answer,
    black_hole,
    fixed,
    hanging,
    http_fixture,
    pool,
    server_fixture,
)

Silence = Callable[[], AbstractContextManager[int]]


@contextmanager
def took(least: float, most: float) -> Iterator[None]:
    """Assert how many seconds something takes."""
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began < most


def worth(seconds: float) -> Callable[[], bool]:
    """Second thoughts that come after a while."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() < until


@pytest.mark.parametrize("silence", [black_hole, hanging], ids=["dropped", "hangs"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server_is_waited_for_while_it_is_worth_it(silence: Silence, scheme: str) -> None:
    with (
        silence() as port,
        pool(connect_timeout=5) as http,
        took(0.3, 1),
        pytest.raises(Unreachable, match="Timeout"),
    ):
        http.ask(f"{scheme}://a.localhost:{port}/", {}, timeout=5, keep_waiting=worth(0.3))


@pytest.mark.parametrize("bound", [deadline, patience])
def test_a_question_within_a_call_ends_with_its_time(
    bound: Callable[[float], AbstractContextManager[None]],
) -> None:
    with hanging() as port, pool() as http, took(0.3, 3), bound(0.3), pytest.raises(Unreachable):
        http.ask(f"http://a.localhost:{port}/", {}, timeout=10)


@pytest.mark.parametrize("silence", [black_hole, hanging], ids=["dropped", "hangs"])
def test_a_silent_server_is_given_up_in_time(silence: Silence) -> None:
    with silence() as port:
        with pool(connect_timeout=5) as http, took(0.4, 1), pytest.raises(Unreachable, match="Timeout"):
            http.ask(f"https://a.localhost:{port}/", {}, timeout=0.4)
        with pool(connect_timeout=0.4) as http, took(0.4, 1), pytest.raises(Unreachable, match="Timeout"):
            http.ask(f"https://a.localhost:{port}/", {}, timeout=5)


def test_without_patience_the_timeout_alone_counts() -> None:
    with black_hole() as port, took(0.3, 1), pytest.raises(httpcore2.ConnectTimeout):
        Backend().connect_tcp("localhost", port, 0.3)


def test_a_slow_handshake_goes_on_from_slice_to_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    authority, served = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.localhost").configure_cert(served)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        time.sleep(0.35)
        with served.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(answer(b"slow"))

    with socket.create_server(("127.0.0.1", 0)) as listener, authority.cert_pem.tempfile() as certificate:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        with pool() as http:
            url = f"https://a.localhost:{listener.getsockname()[1]}/"
            assert http.ask(url, {}, timeout=3).body == b"slow"
        thread.join()


def test_the_second_address_is_tried_where_the_first_refuses(
    server: MakeServer, http: HttpPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = server(fixed(answer(b"second")))
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        for address in (closed, ("127.0.0.1", remote.port))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    assert http.ask("http://two.example/", {}, timeout=2).body == b"second"


@pytest.mark.parametrize("host", ["nobody.invalid", "256.256.256.256", "a..b", ".", "a" * 64])
def test_a_name_that_nobody_has_is_a_failure_to_connect(host: str) -> None:
    with patience(5), pytest.raises(httpcore2.ConnectError):
        Backend().connect_tcp(host, 80, 5)
    with pytest.raises(httpcore2.ConnectError):
        asyncio.run(AsyncBackend().connect_tcp(host, 80, 5))


def test_a_server_that_speaks_no_tls_is_a_failure_to_connect() -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener, pool() as http:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(Unreachable, match="ConnectError"):
            http.ask(f"https://a.localhost:{listener.getsockname()[1]}/", {}, timeout=2)
        thread.join()
