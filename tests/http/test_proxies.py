"""Behind a proxy the same bounds hold as without one, and some hosts are never asked for by it."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import pytest
import trustme
from flask import Flask

from flask_orbro import open_api_required
from flask_orbro.http.pool import HttpPool, Unreachable

from ..conftest import bearer
from .raw_server import (  # noqa: F401
    MakeServer,
    answer,
    black_hole,
    fixed,
    hanging,
    pool,
    server_fixture,
)

#: A name that no resolver knows: it is the proxy that finds it.
HOST = "acme.orbro.invalid"


class Proxy:
    """Passes on what it is asked for, whatever its name, to one server on loopback.

    ``CONNECT`` makes a tunnel; a request in absolute form (RFC 9112, section 3.2.2) is forwarded.
    """

    def __init__(self, listener: socket.socket, origin_port: int, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._origin = ("127.0.0.1", origin_port)
        self._tls = tls
        self.port = listener.getsockname()[1]
        #: Heads of the requests that were made of the proxy itself.
        self.heads: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # some clients of these tests leave early
            self._pass_on(connection)

    def _pass_on(self, client: socket.socket) -> None:
        if self._tls is not None:
            client = self._tls.wrap_socket(client, server_side=True)
        with client, socket.create_connection(self._origin) as origin:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head.decode())
            if head.startswith(b"CONNECT "):
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                origin.sendall(head)
            relay(client, origin)


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass on bytes both ways until one side has no more."""
    while True:
        for source, sink in ((one, other), (other, one)):
            waiting = isinstance(source, ssl.SSLSocket) and source.pending()
            if waiting or select.select([source], [], [], 0.005)[0]:
                part = source.recv(4096)
                if not part:
                    return
                sink.sendall(part)


@contextmanager
def proxy_to(port: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener, port, tls)
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(autouse=True)
def _no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """Of a server that has the name, or a proxy, with an authority that clients trust."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile() as certificate:
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        yield context


def test_calls_go_through_a_tunnel(
    server: MakeServer, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = server(fixed(answer(b'{"a": 1}')), tls)
    with proxy_to(remote.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass%20word@127.0.0.1:{proxy.port}")
        with pool() as http:
            for _ in range(2):
                assert http.ask(f"https://{HOST}/x", bearer("t"), timeout=5).body == b'{"a": 1}'
            assert asyncio.run(ask_async(http, f"https://{HOST}/x")) == b'{"a": 1}'
    # One tunnel for each client, and in the tunnel's own head nothing of the request's.
    assert len(proxy.heads) == 2
    for head in proxy.heads:
        assert head.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in head
        assert "Bearer" not in head
    assert [b"Proxy-Authorization" in head for head in remote.requests] == [False] * 3


async def ask_async(http: HttpPool, url: str) -> bytes:
    return (await (await http.async_client()).get(url)).content


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_way_to_the_proxy_may_be_encrypted_too(
    server: MakeServer, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    remote = server(fixed(answer(b"whole")), tls if scheme == "https" else None)
    with proxy_to(remote.port, tls) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"https://127.0.0.1:{proxy.port}")
        with pool() as http:
            assert http.ask(f"{scheme}://{HOST}/x", {}, timeout=5).body == b"whole"
            assert asyncio.run(ask_async(http, f"{scheme}://{HOST}/x")) == b"whole"
    assert len(proxy.heads) == 2


def test_calls_without_tls_are_forwarded(server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = server(fixed(answer(b"plain")))
    with proxy_to(remote.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        with pool() as http:
            assert http.ask(f"http://{HOST}/x", {}, timeout=5).body == b"plain"
    assert [head.split("\r\n")[0] for head in proxy.heads] == [f"GET http://{HOST}/x HTTP/1.1"]


@pytest.mark.parametrize("name", ["localhost", "acme.orbro.localhost", "127.0.0.1"])
def test_loopback_never_goes_through_a_proxy(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    remote = server(fixed(answer(b"here")))
    with proxy_to(remote.port) as proxy:
        for scheme in ("HTTP", "HTTPS", "ALL"):
            monkeypatch.setenv(f"{scheme}_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pool() as http:
            assert http.ask(f"http://{name}:{remote.port}/", {}, timeout=5).body == b"here"
            assert asyncio.run(ask_async(http, f"http://{name}:{remote.port}/")) == b"here"
            for other in (f"http://127.9.9.9:{remote.port}/", f"http://[::1]:{remote.port}/"):
                with pytest.raises(Unreachable, match="ConnectError"):  # nobody listens there
                    http.ask(other, {}, timeout=5)
    assert proxy.heads == []


@pytest.mark.parametrize("listed", ["*", HOST, ".orbro.invalid", "other.example, orbro.invalid"])
def test_no_proxy_is_honoured(server: MakeServer, monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    remote = server(fixed(answer()))
    with proxy_to(remote.port) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", listed)
        with pool() as http, pytest.raises(Unreachable, match="ConnectError"):  # nobody knows the name
            http.ask(f"http://{HOST}/", {}, timeout=5)
    assert proxy.heads == []


def test_what_no_proxy_lists_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a name that the system knows would be: here it is one that only this test knows.
    with black_hole() as port, pool(connect_timeout=5) as http:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", HOST)
        given_up_within(1, http, f"http://{HOST}/")


def given_up_within(seconds: float, http: HttpPool, url: str) -> None:
    """Ask with second thoughts that come after 0.3 s."""
    began = time.monotonic()
    with pytest.raises(Unreachable, match="Timeout"):
        http.ask(url, {}, timeout=5, keep_waiting=lambda: time.monotonic() < began + 0.3)
    assert 0.3 <= time.monotonic() - began < seconds


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("silence", [hanging, black_hole], ids=["hangs", "dropped"])
def test_a_silent_proxy_is_given_up_as_a_silent_server_is(
    silence: Callable[[], AbstractContextManager[int]], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silence() as port:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
        with pool(connect_timeout=5) as http:
            given_up_within(1, http, f"{scheme}://{HOST}/")


def test_a_server_that_hangs_behind_a_proxy_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with hanging() as port, proxy_to(port) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pool(connect_timeout=5) as http:
            given_up_within(1, http, f"https://{HOST}/")  # while TLS is agreed on
            given_up_within(1, http, f"http://{HOST}/")


@pytest.mark.parametrize("refusal", ["407 Proxy Authentication Required", "502 Bad Gateway", "503 Busy"])
def test_a_proxy_that_refuses_is_no_answer_of_the_platform(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    remote = server(fixed(answer(b'{"error_code": "X"}', refusal)))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{remote.port}")
    with pool() as http, pytest.raises(Unreachable, match="ProxyError"):
        http.ask(f"https://{HOST}/", bearer("t"), timeout=5)
    assert not any(b"Bearer" in head for head in remote.requests)


def test_callers_behind_a_hanging_proxy_are_answered_in_time(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(
        ORBRO_PLATFORM_HOST="orbro.invalid",
        ORBRO_PLATFORM_SCHEME="https",
        ORBRO_STALL_AFTER=0.4,
        ORBRO_VERDICT_TIMEOUT=2,
    )

    @app.get("/open")
    @open_api_required
    def view() -> str:
        return "in"

    answers: list[tuple[int, float]] = []

    def call(number: int) -> None:
        began = time.monotonic()
        response = app.test_client().get("/open", headers=bearer(f"token-{number}"))
        answers.append((response.status_code, time.monotonic() - began))

    with hanging() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        call(8)
        late = answers.pop()
        for thread in threads:
            thread.join()
    assert Counter(status for status, _ in answers) == {503: 8}
    took = sorted(seconds for _, seconds in answers)
    assert took[-1] < 4, "past the configured timeout"
    assert took[-2] < took[-1], "only the probe waits for all of it"
    assert late[0] == 503
    assert late[1] < 0.3, "what is known is told at once"
