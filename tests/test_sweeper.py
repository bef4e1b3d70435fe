"""The thread that asks again: alive only while something waits, one per process, gone when stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from flask import Flask

from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state
from flask_orbro.sweeper import NAPS, Sweeper

from .conftest import CLIENT_ID


class Sweeps:
    """Counts its sweeps, and answers when the next one is due."""

    def __init__(self, *answers: float | None) -> None:
        self.answers = list(answers)
        self.at: list[float] = []
        self.error: Exception | None = None
        self.swept = threading.Event()

    def __call__(self) -> float | None:
        self.at.append(time.time())
        self.swept.set()
        if self.error is not None:
            raise self.error
        gap = self.answers.pop(0) if self.answers else None
        return None if gap is None else time.time() + gap


@contextmanager
def sweeping(sweeps: Sweeps, *, enabled: bool = True) -> Iterator[Sweeper]:
    sweeper = Sweeper(sweeps, time.time, enabled=enabled)
    try:
        yield sweeper
    finally:
        sweeper.stop()


def until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alive(sweeper: Sweeper) -> bool:
    return sweeper._thread is not None and sweeper._thread.is_alive()


def sweeper_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "orbro-sweeper"}


def test_nothing_runs_before_it_is_woken(started_threads: list[str]) -> None:
    sweeps = Sweeps()
    with sweeping(sweeps) as sweeper:
        time.sleep(0.05)
        assert not alive(sweeper)
        assert not started_threads
        assert not sweeps.at


def test_woken_it_sweeps_at_once_and_ends_when_nothing_waits() -> None:
    sweeps = Sweeps(None)
    with sweeping(sweeps) as sweeper:
        sweeper.wake()
        assert sweeps.swept.wait(1)
        assert until(lambda: not alive(sweeper))
        assert len(sweeps.at) == 1
        sweeper.wake()
        assert until(lambda: len(sweeps.at) == 2)


def test_it_sweeps_again_when_the_next_question_is_due() -> None:
    sweeps = Sweeps(0.4, None)
    with sweeping(sweeps) as sweeper:
        sweeper.wake()
        assert until(lambda: not alive(sweeper) and len(sweeps.at) == 2)
        assert 0.35 <= sweeps.at[1] - sweeps.at[0] < 1


def test_what_is_overdue_does_not_make_it_spin() -> None:
    sweeps = Sweeps(*[-10.0] * 100)
    with sweeping(sweeps) as sweeper:
        sweeper.wake()
        time.sleep(0.7)
        assert len(sweeps.at) <= 0.7 / NAPS[0] + 2


def test_many_that_wake_it_share_one_thread() -> None:
    sweeps = Sweeps(*[0.2] * 50)
    with sweeping(sweeps) as sweeper:
        before = sweeper_threads()
        threads = [threading.Thread(target=sweeper.wake) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sweeper_threads() - before) <= 1


def test_a_sweep_that_fails_is_logged_and_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    sweeps = Sweeps()
    sweeps.error = RuntimeError("database is gone")
    with sweeping(sweeps) as sweeper:
        sweeper.wake()
        assert until(lambda: "database is gone" in caplog.text)
        assert alive(sweeper)
        sweeps.error = None
        sweeper.wake()
        assert until(lambda: len(sweeps.at) == 2)


def test_stopping_ends_a_nap_without_another_sweep() -> None:
    sweeps = Sweeps(30, 30)
    with sweeping(sweeps) as sweeper:
        sweeper.wake()
        assert sweeps.swept.wait(1)
        time.sleep(0.05)
        start = time.monotonic()
        sweeper.stop()
        assert time.monotonic() - start < 1
        assert not alive(sweeper)
        assert len(sweeps.at) == 1
        sweeper.wake()
        sweeper.start_once()
        time.sleep(0.05)
        assert len(sweeps.at) == 1


def test_switched_off_it_never_runs() -> None:
    sweeps = Sweeps()
    with sweeping(sweeps, enabled=False) as sweeper:
        sweeper.wake()
        sweeper.start_once()
        time.sleep(0.05)
        assert not sweeps.at


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_first_request_starts_it_once_a_process() -> None:
    sweeps = Sweeps(None)
    with sweeping(sweeps) as sweeper:
        for _ in range(5):
            sweeper.start_once()
        assert until(lambda: not alive(sweeper) and len(sweeps.at) == 1)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                sweeps.swept.clear()
                sweeper.start_once()
                os.write(write_end, b"swept" if sweeps.swept.wait(2) else b"never")
            finally:
                os._exit(0)
        os.close(write_end)
        os.waitpid(child, 0)
        with os.fdopen(read_end, "rb") as said:
            assert said.read() == b"swept"


def test_a_request_looks_again_after_a_minute_for_what_another_process_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweeps, now = Sweeps(), [1000.0]
    monkeypatch.setattr("flask_orbro.sweeper.time", SimpleNamespace(monotonic=lambda: now[0]))
    with sweeping(sweeps) as sweeper:
        for minute in range(3):
            now[0] += NAPS[1]
            for _ in range(5):
                sweeper.start_once()
            assert until(lambda: not alive(sweeper))
            assert len(sweeps.at) == minute + 1


def test_a_waiting_install_is_proven_by_the_thread_alone(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> None:
    app = make_app(ORBRO_SWEEPER=True)
    url = serving(app)
    assert simulator.platform.install(url, "acme", client_id=CLIENT_ID, activate="after").ok
    state = get_state(app)
    assert until(lambda: state.organizations.bound_to("acme") is not None)
    assert until(lambda: not alive(state.sweeper))


def test_what_an_earlier_process_left_waiting_is_proven_after_the_first_request(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> None:
    app = make_app()
    simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID, activate="after")
    state = get_state(app)
    assert state.claims.count() == 1
    later = Sweeper(state.inquiry.sweep, time.time, enabled=True)
    try:
        later.start_once()
        assert until(lambda: state.claims.count() == 0)
        assert state.organizations.bound_to("acme") is not None
    finally:
        later.stop()
