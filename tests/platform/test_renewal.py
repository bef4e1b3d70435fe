"""A refused token is renewed once for a call, by one that is another."""

from __future__ import annotations

import socket

import jwt

from ..http.raw_server import answer
from .conftest import MakeRawCaller
from .test_clock import dated

EXPIRED = b'{"error_code": "TOKEN_EXPIRED"}'


def refusing(status: str) -> object:
    def respond(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(answer(EXPIRED, status))

    return respond


def test_the_newer_token_is_another_even_in_the_same_second(make_raw_caller: MakeRawCaller) -> None:
    call, world = make_raw_caller(refusing("401 Unauthorized"))
    for _ in range(5):
        assert call().status_code == 401
    tokens = world.tokens
    assert len(tokens) == 10
    for refused, newer in zip(tokens[::2], tokens[1::2], strict=True):
        assert newer != refused
    for token in tokens:
        claims = jwt.decode(token, "s" * 40, algorithms=["HS256"])  # so none is of the future
        assert claims["exp"] - claims["iat"] == 1800


def test_a_call_that_is_repeated_renews_its_token_once(make_raw_caller: MakeRawCaller) -> None:
    call, world = make_raw_caller(refusing("503 Service Unavailable"), ORBRO_CALL_ATTEMPTS=3)
    assert call().status_code == 503
    assert (len(world.tokens), world.made) == (4, 2)
    assert len(set(world.tokens)) == 2


def test_the_next_call_may_renew_it_again(make_raw_caller: MakeRawCaller) -> None:
    refuse = [True]

    def respond(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(answer(EXPIRED, "401 Unauthorized") if refuse[0] else dated())

    call, world = make_raw_caller(respond)
    assert call().status_code == 401
    refuse[0] = False
    assert call().status_code == 200
    assert len(world.tokens) == 3
