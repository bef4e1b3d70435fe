"""The one HTTP client: where it connects to, what it never does, and answers that do not come whole."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import time
import weakref
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro.http.pool import MAX_ANSWER, Answer, HttpPool, Unreachable
from flask_orbro.protocol import USER_AGENT

from .raw_server import (  # noqa: F401
    MakeServer,
    Respond,
    answer,
    fixed,
    http_fixture,
    pool,
    server_fixture,
)


def test_names_under_localhost_are_loopback_with_their_host_kept(server: MakeServer, http: HttpPool) -> None:
    remote = server(fixed(answer(b'{"a": 1}')))
    for name in ("acme.orbro.localhost", "localhost", "a.b.c.localhost"):
        found = http.ask(f"http://{name}:{remote.port}/x", {"Authorization": "Bearer t"}, timeout=2)
        assert (found.status, found.body) == (200, b'{"a": 1}')
        head = remote.requests[-1].decode().lower()
        assert f"host: {name}:{remote.port}\r\n" in head
        assert "authorization: bearer t\r\n" in head
        assert f"user-agent: {USER_AGENT}\r\n" in head


def test_over_tls_the_certificate_is_judged_by_the_name_that_was_asked_for(
    server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("acme.orbro.localhost").configure_cert(tls)
    names: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    remote = server(fixed(answer()), tls)
    with authority.cert_pem.tempfile() as certificate:
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        with pool() as http:
            assert http.ask(f"https://acme.orbro.localhost:{remote.port}/", {}, timeout=2).status == 200
            for other in ("beta.orbro.localhost", "localhost"):
                with pytest.raises(Unreachable, match="ConnectError"):
                    http.ask(f"https://{other}:{remote.port}/", {}, timeout=2)
        assert names == ["acme.orbro.localhost", "beta.orbro.localhost", "localhost"]
    monkeypatch.delenv("SSL_CERT_FILE")
    with pool() as stranger, pytest.raises(Unreachable, match="ConnectError"):
        stranger.ask(f"https://acme.orbro.localhost:{remote.port}/", {}, timeout=2)
    assert len(remote.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_never_followed(server: MakeServer, http: HttpPool, status: int) -> None:
    attacker = server(fixed(answer()))
    location = f"Location: http://127.0.0.1:{attacker.port}/\r\n"
    remote = server(fixed(answer(b"", f"{status} Moved", location)))
    found = http.ask(f"http://a.localhost:{remote.port}/", {"Authorization": "Bearer t"}, timeout=2)
    assert found.status == status
    assert http.client.get(f"http://a.localhost:{remote.port}/").status_code == status
    assert not attacker.requests


@pytest.mark.parametrize(
    "location", [b"http://[bad", b"http://a:b/", b"//", b"", b"http://\xff/", b"http://" + b"a" * 70_000]
)
def test_a_redirect_to_nowhere_is_an_answer_too(server: MakeServer, http: HttpPool, location: bytes) -> None:
    raw = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    remote = server(fixed(raw))
    assert http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=2).status == 302
    assert http.client.post(f"http://a.localhost:{remote.port}/").status_code == 302
    assert len(remote.requests) == 2


def test_no_cookie_is_kept(server: MakeServer, http: HttpPool) -> None:
    remote = server(fixed(answer(b"{}", headers="Set-Cookie: session=theirs; Path=/\r\n")))
    for _ in range(2):
        http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=2)
        http.client.get(f"http://127.0.0.1:{remote.port}/")
    assert len(remote.requests) == 4
    assert not any(b"cookie" in head.lower() for head in remote.requests)


def test_connections_are_kept_and_used_again(server: MakeServer, http: HttpPool) -> None:
    remote = server(fixed(answer()))
    for _ in range(5):
        http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=2)
    assert (len(remote.requests), remote.connections) == (5, 1)


def test_an_answer_of_the_greatest_length_is_read_a_longer_one_is_not(
    server: MakeServer, http: HttpPool
) -> None:
    whole = server(fixed(answer(b"x" * MAX_ANSWER)))
    assert len(http.ask(f"http://a.localhost:{whole.port}/", {}, timeout=2).body) == MAX_ANSWER
    longer = server(fixed(answer(b"x" * (MAX_ANSWER + 1))))
    with pytest.raises(Unreachable, match="answer_too_long"):
        http.ask(f"http://a.localhost:{longer.port}/", {}, timeout=2)


def test_an_endless_answer_is_given_up(server: MakeServer, http: HttpPool) -> None:
    def endless(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 4096)

    remote = server(endless)
    with pytest.raises(Unreachable, match="answer_too_long"):
        http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=2)


def drip(first: bytes, then: bytes) -> Respond:
    def respond(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(first)
        for _ in range(60):
            time.sleep(0.05)
            connection.sendall(then)

    return respond


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 ", b"2"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"),
    ],
    ids=["body", "header", "status", "interim"],
)
def test_an_answer_that_drips_is_given_up_in_time(
    server: MakeServer, http: HttpPool, first: bytes, then: bytes
) -> None:
    remote = server(drip(first, then))
    start = time.monotonic()
    with pytest.raises(Unreachable):
        http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=0.3)
    assert time.monotonic() - start < 1


def test_silence_is_given_up_in_time(server: MakeServer, http: HttpPool) -> None:
    remote = server(lambda _connection, _head: remote.closing.wait(3))
    start = time.monotonic()
    with pytest.raises(Unreachable, match="Timeout"):
        http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=0.2)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01" * 20,
        b"<html>",
    ],
)
def test_an_answer_that_is_not_whole_is_no_answer(server: MakeServer, http: HttpPool, raw: bytes) -> None:
    remote = server(fixed(raw, close=True))
    with pytest.raises(Unreachable) as caught:
        http.ask(f"http://a.localhost:{remote.port}/secret-path", {"Authorization": "Bearer t"}, timeout=1)
    assert "secret-path" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_closed_port_is_unreachable(http: HttpPool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="ConnectError"):
        http.ask(f"http://a.localhost:{port}/", {}, timeout=1)


@given(st.binary(max_size=200))
def test_a_body_is_not_shown_in_a_repr(body: bytes) -> None:
    assert "body" not in repr(Answer(200, {}, body))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_makes_a_client_of_its_own(server: MakeServer, http: HttpPool) -> None:
    remote = server(fixed(answer()))
    url = f"http://a.localhost:{remote.port}/"
    http.ask(url, {}, timeout=2)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            before = http._client
            if http.client is not before and http.ask(url, {}, timeout=2).status == 200:
                os.write(write_end, b"new")
                status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as said:
        assert said.read() == b"new"
    assert os.waitstatus_to_exitcode(status) == 0
    assert remote.connections == 2
    assert http.ask(url, {}, timeout=2).status == 200
    assert remote.connections == 2  # the parent's connection is still its own


def test_after_close_the_next_use_makes_a_new_client(server: MakeServer, http: HttpPool) -> None:
    remote = server(fixed(answer()))
    for _ in range(2):
        http.ask(f"http://a.localhost:{remote.port}/", {}, timeout=2)
        http.close()
        http.close()
    assert remote.connections == 2


def ended(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def closed(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()


# Of connections that their loop was closed without: its owner is to hear of that.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("end", [ended, closed])
def test_nothing_is_kept_of_event_loops_that_are_over(server: MakeServer, http: HttpPool, end: Any) -> None:
    remote = server(fixed(answer()))

    async def call() -> int:
        client = await http.async_client()
        assert await http.async_client() is client
        return (await client.get(f"http://127.0.0.1:{remote.port}/")).status_code

    gone = []
    for _ in range(5):
        loop = asyncio.new_event_loop()
        gone.append(weakref.ref(loop))
        assert loop.run_until_complete(call()) == 200
        end(loop)
        del loop
    assert asyncio.run(call()) == 200
    gc.collect()
    assert [loop() for loop in gone] == [None] * 5
    assert http._async_clients == {}
