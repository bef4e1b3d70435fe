"""An origin that does not answer is found out once, by few, and is asked again by one."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from flask_orbro import user_required
from flask_orbro.http.outage import KnownOutage, OutageMemory
from flask_orbro.http.pool import Unreachable
from flask_orbro.protocol import USER_PATH
from flask_orbro.simulator import SimulatorServer

from ..conftest import CLIENT_ID, bearer

ORIGIN = "https://acme.orbro.io"


class Timer:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def outages(timer: Timer) -> OutageMemory:
    return OutageMemory(memory=1, stall=2, timer=timer)


def refused(outages: OutageMemory, origin: str = ORIGIN) -> bool:
    try:
        handle = outages.enter(origin)
    except KnownOutage:
        return True
    outages.leave(origin, handle, answered=True)
    return False


def test_a_failure_is_remembered_for_its_origin_alone(outages: OutageMemory, timer: Timer) -> None:
    outages.leave(ORIGIN, outages.enter(ORIGIN), answered=False)
    assert refused(outages)
    assert not refused(outages, "https://globex.orbro.io")
    timer.now += 1.01
    assert not refused(outages)


def test_one_probe_at_a_time(outages: OutageMemory, timer: Timer) -> None:
    outages.leave(ORIGIN, outages.enter(ORIGIN), answered=False)
    timer.now += 1.01
    probe = outages.enter(ORIGIN)
    assert refused(outages)
    outages.leave(ORIGIN, probe, answered=False)
    assert refused(outages), "the probe failed: down again"
    timer.now += 1.01
    outages.leave(ORIGIN, outages.enter(ORIGIN), answered=True)
    assert not refused(outages)


def test_where_an_origin_hangs_only_the_oldest_question_stays(outages: OutageMemory, timer: Timer) -> None:
    oldest, other = outages.enter(ORIGIN), outages.enter(ORIGIN)
    assert outages.keep_waiting(ORIGIN, other)
    timer.now += 2.01
    assert outages.keep_waiting(ORIGIN, oldest)
    assert not outages.keep_waiting(ORIGIN, other)
    assert refused(outages)


def test_a_slow_origin_that_answers_somebody_does_not_hang(outages: OutageMemory, timer: Timer) -> None:
    first, second = outages.enter(ORIGIN), outages.enter(ORIGIN)
    timer.now += 1.5
    outages.leave(ORIGIN, first, answered=True)
    timer.now += 1
    assert outages.keep_waiting(ORIGIN, second)
    assert not refused(outages)


@pytest.mark.parametrize("failed_after", [0.1, 1, 1.9, 2.5, 5])
def test_a_question_that_is_left_over_shuts_nobody_out_of_an_origin_that_is_back(
    outages: OutageMemory, timer: Timer, failed_after: float
) -> None:
    left_over, dropped = outages.enter(ORIGIN), outages.enter(ORIGIN)
    timer.now += failed_after
    outages.leave(ORIGIN, dropped, answered=False)
    assert refused(outages)
    timer.now += 1.01
    probe = outages.enter(ORIGIN)
    assert refused(outages), "one at a time"
    outages.leave(ORIGIN, probe, answered=True)
    for _ in range(20):
        assert not refused(outages)
        timer.now += 0.5
    outages.leave(ORIGIN, left_over, answered=False)
    assert not refused(outages), "others were answered since it was asked"


def test_a_probe_that_hangs_makes_room_for_the_next(outages: OutageMemory, timer: Timer) -> None:
    probe = outages.enter(ORIGIN)
    for _ in range(5):
        timer.now += 2.01
        assert outages.keep_waiting(ORIGIN, probe)
        timer.now += 1.01
        newer = outages.enter(ORIGIN)
        assert refused(outages), "one at a time"
        assert not outages.keep_waiting(ORIGIN, probe)
        assert outages.keep_waiting(ORIGIN, newer)
        outages.leave(ORIGIN, probe, answered=False)
        probe = newer
    outages.leave(ORIGIN, probe, answered=True)
    assert not refused(outages)


@pytest.fixture
def hanging() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture
def dripping() -> Iterator[int]:
    """The port of a server that sends a header, byte by byte, for ever."""
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            try:
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
                    connection.sendall(bytes([byte]))
                    if stop.wait(0.05):
                        return
            except OSError:
                return

    def accept(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def installed_app(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer, **config: Any
) -> tuple[Flask, str]:
    app = make_app(**config)

    @app.get("/me")
    @user_required
    def me() -> str:
        return "in"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    return app, f"http://acme.{simulator.platform_host}"


def call(app: Flask, origin: str, token: str) -> tuple[int, float]:
    """Status, and seconds until it came."""
    began = time.monotonic()
    response = app.test_client().get("/me", query_string={"origin": origin}, headers=bearer(token))
    return response.status_code, time.monotonic() - began


def test_a_platform_that_hangs_costs_few_callers_anything(
    simulator: SimulatorServer, make_app: Callable[..., Flask], serving: Callable[[Flask], str]
) -> None:
    app, origin = installed_app(make_app, serving, simulator, ORBRO_STALL_AFTER=0.4, ORBRO_VERDICT_TIMEOUT=2)
    tokens = [simulator.platform.user_token("acme", expires_in=3600 + i) for i in range(9)]
    simulator.platform.faults.set(USER_PATH, delay=6)
    answers: list[tuple[int, float]] = []
    threads = [
        threading.Thread(target=lambda token=token: answers.append(call(app, origin, token)))
        for token in tokens[:8]
    ]
    for thread in threads:
        thread.start()
    time.sleep(1)
    late = call(app, origin, tokens[8])
    for thread in threads:
        thread.join()
    assert Counter(status for status, _ in answers) == {503: 8}
    took = sorted(seconds for _, seconds in answers)
    assert took[-1] < 3, "past the configured timeout"
    assert took[-2] < 1.5, "only the probe waits for all of it"
    assert late[0] == 503
    assert late[1] < 0.3, "what is known is told at once"


def test_one_question_that_hangs_does_not_shut_a_healthy_platform_out(
    simulator: SimulatorServer, make_app: Callable[..., Flask], serving: Callable[[Flask], str]
) -> None:
    settings = {"ORBRO_STALL_AFTER": 0.5, "ORBRO_VERDICT_TIMEOUT": 8, "ORBRO_OUTAGE_MEMORY": 0.2}
    app, origin = installed_app(make_app, serving, simulator, **settings)
    tokens = [simulator.platform.user_token("acme", expires_in=3600 + i) for i in range(100)]
    arrived, go = threading.Event(), threading.Event()
    inner = simulator.app.wsgi_app

    def hanging_once(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == USER_PATH and not arrived.is_set():
            arrived.set()
            go.wait(30)
        return inner(environ, start_response)

    simulator.app.wsgi_app = hanging_once  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(call, app, origin, tokens.pop())
        assert arrived.wait(10)
        simulator.platform.faults.set(USER_PATH, drop=True)
        assert call(app, origin, tokens.pop())[0] == 503
        simulator.platform.faults.clear()
        time.sleep(0.6)  # it hangs by now
        while call(app, origin, tokens.pop())[0] != 200:
            time.sleep(0.1)
        assert [call(app, origin, tokens.pop())[0] for _ in range(10)] == [200] * 10
        assert not hangs.done(), "it was waited for"
        go.set()
        assert hangs.result()[0] == 200


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_that_answers_for_the_platform_is_an_outage(
    simulator: SimulatorServer, make_app: Callable[..., Flask], serving: Callable[[Flask], str], status: int
) -> None:
    app, origin = installed_app(make_app, serving, simulator, ORBRO_OUTAGE_MEMORY=30)
    simulator.platform.faults.set(USER_PATH, status=status, body="<h1>Gateway</h1>")
    tokens = [simulator.platform.user_token("acme", expires_in=3600 + i) for i in range(4)]
    assert [call(app, origin, token)[0] for token in tokens] == [503] * 4
    assert simulator.platform.counts[USER_PATH] == 1


def test_a_fault_over_one_token_is_no_outage(
    simulator: SimulatorServer, make_app: Callable[..., Flask], serving: Callable[[Flask], str]
) -> None:
    # Else whoever finds a token that the platform chokes on could keep everybody out.
    app, origin = installed_app(make_app, serving, simulator, ORBRO_OUTAGE_MEMORY=30)
    simulator.platform.faults.set(USER_PATH, status=500, body={})
    assert call(app, origin, "strange")[0] == 503
    simulator.platform.faults.clear()
    assert call(app, origin, simulator.platform.user_token("acme"))[0] == 200


def test_an_answer_that_drips_in_is_bounded_as_a_whole(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    dripping: int,
) -> None:
    app, origin = installed_app(make_app, serving, simulator, ORBRO_VERDICT_TIMEOUT=1)
    token = simulator.platform.user_token("acme")
    simulator.stop()
    state = app.extensions["orbro"]
    began = time.monotonic()
    with pytest.raises(Unreachable):
        state.http.ask(f"http://acme.orbro.localhost:{dripping}{USER_PATH}", {}, timeout=1)
    assert 0.9 < time.monotonic() - began < 2
    # The platform itself is gone meanwhile: 503 at once, and again from memory.
    assert [call(app, origin, token)[0] for _ in range(2)] == [503, 503]


@pytest.mark.parametrize("testing", [True, False])
def test_when_the_platform_is_back_callers_get_in_again(
    simulator: SimulatorServer, make_app: Callable[..., Flask], serving: Callable[[Flask], str], testing: bool
) -> None:
    app, origin = installed_app(make_app, serving, simulator, TESTING=testing, ORBRO_OUTAGE_MEMORY=0.2)
    token = simulator.platform.user_token("acme")
    simulator.stop()
    assert call(app, origin, token)[0] == 503
    simulator.start()
    time.sleep(0.25)
    assert call(app, origin, token)[0] == 200


def test_a_hanging_connection_is_given_up_in_time(make_app: Callable[..., Flask], hanging: int) -> None:
    app = make_app()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="Timeout"):
        app.extensions["orbro"].http.ask(f"http://x.localhost:{hanging}/", {}, timeout=0.5)
    assert time.monotonic() - began < 1.5
