"""What is told of a call without an answer: its kind, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
import trustme

from flask_orbro import ConnectionUnavailable
from flask_orbro.connections import AsyncConnection, Connection
from flask_orbro.http.reasons import why

from .raw_server import RawServer, hanging


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def of_a_stranger(stack: ExitStack) -> str:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    server = RawServer(lambda *_: None, tls)
    stack.callback(server.close)
    return f"https://localhost:{server.port}"


def closing(stack: ExitStack) -> str:
    server = RawServer(lambda connection, _: connection.sendall(b"no HTTP\r\n\r\n"))
    stack.callback(server.close)
    return f"http://127.0.0.1:{server.port}"


def silent(stack: ExitStack) -> str:
    return f"http://127.0.0.1:{stack.enter_context(hanging())}"


def closed(stack: ExitStack) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (of_a_stranger, "its certificate is not trusted"),
        (closed, "the connection is refused"),
        (silent, "it takes too long"),
        (closing, "the connection broke"),
        (lambda _: "https://nobody.invalid", "its name is not known"),
    ],
)
def test_the_kind_of_failure_is_told(
    stack: ExitStack, make: Callable[[ExitStack], str], words: str, form: str
) -> None:
    definition = {"url": make(stack), "timeout": 5, "retries": 0}

    def call() -> Any:
        if form == "sync":
            return Connection("other", definition).get("/secret-path")
        return asyncio.run(get())

    async def get() -> Any:
        return await AsyncConnection("other", definition).get("/secret-path")

    with pytest.raises(ConnectionUnavailable) as raised:
        call()
    assert raised.value.detail == f"The connection 'other' cannot be used: There is no answer: {words}."


def test_what_is_of_no_known_kind_is_called_as_the_library_does() -> None:
    assert why(httpx2.UnsupportedProtocol("gopher://secret")) == "UnsupportedProtocol"
