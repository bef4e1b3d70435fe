"""A child that is forked in the middle of things waits for none of them."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from flask_orbro.http.bulkhead import Bulkhead, Full
from flask_orbro.http.event_loop import LoopThread
from flask_orbro.http.flight import SingleFlight
from flask_orbro.http.forks import _known
from flask_orbro.http.outage import OutageMemory
from flask_orbro.http.pool import HttpPool
from flask_orbro.installs.proof import AT_ONCE, Prover
from flask_orbro.stores.cache import MemoryCache
from flask_orbro.sweeper import Sweeper
from flask_orbro.webhooks import ThreadDoorbell
from flask_orbro.webhooks.handlers import Handlers

from .test_flight import Question


def in_child(work: Callable[[], object]) -> None:
    """Assert that a forked child does its work, and soon."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            work()
            failed = 0
        finally:
            os._exit(failed)
    for _ in range(100):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_a_child_asks_itself_what_its_parent_was_asking() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question()

    def asks() -> None:
        assert not flights.is_under_way("name")
        assert flights("name", lambda: 2) == 2

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights, "name", question)
        assert question.under_way.wait(5)
        in_child(asks)
        assert flights.is_under_way("name")
        question.go.set()
        assert first.result(5) == 1


def test_a_question_may_fork() -> None:
    flights: SingleFlight[int] = SingleFlight()

    def ask() -> int:
        in_child(lambda: flights("name", lambda: 2))
        return 1

    assert flights("name", ask) == 1


@contextmanager
def call(bulkhead: Bulkhead) -> Iterator[None]:
    """A call under way."""
    counted = bulkhead.enter("acme")
    yield
    bulkhead.leave("acme", counted)


def test_calls_of_the_parent_are_not_under_way_in_a_child() -> None:
    bulkhead = Bulkhead(1)

    def calls() -> None:
        for _ in range(2):
            with call(bulkhead), pytest.raises(Full), call(bulkhead):
                pass

    with call(bulkhead):
        in_child(calls)
        with pytest.raises(Full), call(bulkhead):
            pass
    calls()


def test_a_call_that_forks_ends_in_the_child_without_making_room_for_another() -> None:
    bulkhead = Bulkhead(1)

    def ends() -> None:
        bulkhead.leave("acme", counted)
        with call(bulkhead), pytest.raises(Full), call(bulkhead):
            pass

    counted = bulkhead.enter("acme")
    in_child(ends)
    bulkhead.leave("acme", counted)


THINGS: dict[str, Callable[[], Any]] = {
    "flights": SingleFlight,
    "bulkhead": lambda: Bulkhead(1),
    "pool": lambda: HttpPool(size=1, connect_timeout=1, request_timeout=1),
    "loop": LoopThread,
    "memory": MemoryCache,
    "outages": lambda: OutageMemory(memory=1, stall=1),
    "sweeper": lambda: Sweeper(lambda: None, time.time, enabled=True),
    "doorbell": lambda: ThreadDoorbell(print, threads=1, drain=1),
    "handlers": Handlers,
}


@pytest.mark.parametrize("make", THINGS.values(), ids=THINGS)
def test_a_lock_that_is_held_is_not_held_in_a_child(make: Callable[[], Any]) -> None:
    thing = make()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with thing._lock:
            held.set()
            assert go.wait(10)

    def takes() -> None:
        with thing._lock:
            pass

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert held.wait(5)
        try:
            in_child(takes)
        finally:
            go.set()
        holding.result(5)


def test_who_holds_a_lock_may_fork() -> None:
    pool = HttpPool(size=1, connect_timeout=1, request_timeout=1)

    def goes_on() -> None:
        pool._lock.__exit__()
        with pool._lock:
            pass

    with pool._lock:
        in_child(goes_on)


def test_a_child_reads_the_certificates_that_its_parent_was_reading() -> None:
    pool = HttpPool(size=1, connect_timeout=1, request_timeout=1)
    with pool._tls_lock:
        in_child(lambda: pool.client)
    assert pool.client is pool.client


def test_proofs_of_the_parent_take_no_turn_in_a_child() -> None:
    prover = Prover(*[object()] * 4)  # type: ignore[arg-type]
    for _ in range(AT_ONCE):
        assert prover._slots.acquire(timeout=1)
        assert prover._stored_slots.acquire(timeout=1)

    def has_turns() -> None:
        assert prover._slots.acquire(timeout=1)
        assert prover._stored_slots.acquire(timeout=1)

    in_child(has_turns)
    assert not prover._slots.acquire(blocking=False)


def test_what_is_gone_is_not_started_anew() -> None:
    thing = Bulkhead(1)
    known = len(_known)
    del thing
    gc.collect()
    assert len(_known) < known
