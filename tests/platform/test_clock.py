"""What the app makes of the time that the platform's answers tell."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import pytest

from ..http.raw_server import answer
from .conftest import MakeRawCaller


def dated(status: str = "200 OK", *, ahead: float = 0, more: str = "") -> bytes:
    date = formatdate(time.time() + ahead, usegmt=True)
    return answer(status=status, headers=f"Date: {date}\r\n{more}")


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized"])
def test_an_answer_that_comes_slowly_does_not_shift_the_clock(
    make_raw_caller: MakeRawCaller, status: str
) -> None:
    def respond(connection: socket.socket, head: bytes) -> None:
        if b"/slow" in head:
            connection.sendall(dated(status)[:-1])
            time.sleep(3.2)
            connection.sendall(b"}")
        else:
            connection.sendall(dated())

    call, world = make_raw_caller(respond)
    assert call(path="/slow").status_code == int(status[:3])
    assert call().status_code == 200
    assert world.made == 1


def test_an_answer_of_a_cache_does_not_shift_the_clock(make_raw_caller: MakeRawCaller) -> None:
    call, world = make_raw_caller(
        lambda connection, head: connection.sendall(
            dated(ahead=-3600, more="Age: 3600\r\n") if b"/cached" in head else dated()
        )
    )
    for path in ("/cached", "/fresh") * 3:
        assert call(path=path).status_code == 200
    assert world.made == 1
