"""What a well-behaved client never sends: odd framing, straight into the socket of a served app."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from ..world import World

HEAD = "POST {path} HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nConnection: close\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


def exchange(url: str, request: str | bytes, *, shut: bool = False) -> tuple[int, bytes]:
    """Send bytes; the status and the body that come back. ``shut`` ends the sending half."""
    raw = request if isinstance(request, bytes) else request.encode("latin-1")
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(raw)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:  # the server did not read all that was sent
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def chunk(data: str) -> str:
    return f"{len(data):x}\r\n{data}\r\n"


#: What follows the first header lines, and the status that it deserves.
ODD = [
    (CHUNKED + chunk('{"organization_id": ') + chunk("7}") + "0\r\n\r\n", 400),
    (CHUNKED + chunk("[" * 2000) * 3 + "0\r\n\r\n", 413),
    (CHUNKED + "zz\r\n{}\r\n0\r\n\r\n", 400),
    (CHUNKED + "-5\r\n{}\r\n0\r\n\r\n", 400),
    (CHUNKED + "0\r\n\r\n", 400),
    ("Content-Length: -1\r\n\r\n{}", 400),
    ("Content-Length: many\r\n\r\n{}", 400),
    ("Content-Length: 99999999999999999999\r\n\r\n{}", 413),
    ("Content-Length: 2\r\n\r\n{}", 400),
    ("\r\n", 400),
]


#: Chunks that cannot be told apart, which each server finds out in its own words.
BROKEN_CHUNKS = [
    "zz\r\n{}\r\n0\r\n\r\n",
    "-5\r\n{}\r\n0\r\n\r\n",
    "\r\n{}\r\n0\r\n\r\n",
    "2\r\n{}XX0\r\n\r\n",
    "f" * 40 + "\r\n{}\r\n",
    "ff\r\n{}",
    "2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
]


@both_modes
@pytest.mark.parametrize("path", ["/installed", "/uninstalled", "/enabled", "/disabled"])
def test_odd_framing_of_a_lifecycle_call_is_a_problem(
    make_world: Callable[..., World], path: str, testing: bool
) -> None:
    world = make_world(install=False, TESTING=testing, ORBRO_MAX_BODY=4096)
    found = []
    for rest, _ in ODD:
        status, body = exchange(world.url, HEAD.format(path=path) + rest)
        assert json.loads(body)["status"] == status
        found.append((rest, status))
    assert found == ODD
    assert world.everything() == ([], 0)


@both_modes
def test_a_body_that_ends_early_stores_nothing(make_world: Callable[..., World], testing: bool) -> None:
    world = make_world(install=False, TESTING=testing)
    complete = '{"organization_id": "o", "shared_secret": "' + "s" * 40 + '"}'
    head = HEAD.format(path="/installed")
    for rest in (f"Content-Length: {len(complete) + 9}\r\n\r\n{complete}", CHUNKED + f"ff\r\n{complete}"):
        found, body = exchange(world.url, head + rest, shut=True)
        assert (found, json.loads(body)["code"]) == (400, "body_unreadable")
    assert world.everything() == ([], 0)


def test_a_body_is_not_cut_off_at_the_limit(make_world: Callable[..., World]) -> None:
    # Without its padding it would be a good body.
    world = make_world(install=False, ORBRO_MAX_BODY=1024)
    good = '{"organization_id": "o", "shared_secret": "' + "s" * 40 + '"}'
    head = HEAD.format(path="/installed") + CHUNKED
    for room, status in ((1025, 413), (5000, 413), (1024, 200)):
        found, _ = exchange(world.url, head + chunk(good.ljust(room)) + "0\r\n\r\n")
        assert (found, world.everything()[1]) == (status, int(status == 200))
        plain = f"Content-Length: {room}\r\n\r\n{good.ljust(room)}"
        assert exchange(world.url, HEAD.format(path="/installed") + plain)[0] == status


@both_modes
def test_a_chunked_webhook_is_limited_too(make_world: Callable[..., World], testing: bool) -> None:
    world = make_world(TESTING=testing, ORBRO_MAX_BODY=4096)
    head = HEAD.format(path="/webhook/device")
    head += f"Authorization: Bearer {world.platform.webhook_token('acme')}\r\n"
    assert exchange(world.url, head + CHUNKED + chunk('"' + "x" * 999 + '"') + "0\r\n\r\n")[0] == 200
    assert exchange(world.url, head + CHUNKED + chunk("x" * 3000) * 2 + "0\r\n\r\n")[0] == 413


def test_two_authorizations_are_no_way_in(make_world: Callable[..., World]) -> None:
    world = make_world()
    token = world.platform.user_token("acme")
    head = f"GET /user?origin={world.origin()} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n"
    both = f"Authorization: Bearer bad\r\nAuthorization: Bearer {token}\r\n"
    assert exchange(world.url, head + both + "\r\n")[0] == 401


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"caf\xc3\xa9", b"a\x01b"], ids=["bytes", "UTF-8", "control"])
def test_headers_of_any_bytes_are_no_5xx(make_world: Callable[..., World], raw: bytes) -> None:
    world = make_world()
    for name in (b"sub", b"Authorization", b"Content-Type", b"X-Request-Id"):
        head = b"POST /webhook/device HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: 0\r\n"
        assert 400 <= exchange(world.url, head + name + b": " + raw + b"\r\n\r\n")[0] < 500
        target = b"GET /user?origin=%ff&sub=" + b"x" * 10 + b" HTTP/1.1\r\nHost: app\r\nConnection: close\r\n"
        assert 400 <= exchange(world.url, target + name + b": " + raw + b"\r\n\r\n")[0] < 500
