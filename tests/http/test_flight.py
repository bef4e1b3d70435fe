"""Callers that ask the same at the same time share one answer."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_orbro.http.flight import SingleFlight
from flask_orbro.http.network import deadline, seconds_left


class Question:
    """A question that takes until it is let go, and counts how often it was asked."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.asked = 0
        self.under_way = threading.Event()
        self.go = threading.Event()
        self._error = error
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.asked += 1
        self.under_way.set()
        assert self.go.wait(5)
        if self._error is not None:
            raise self._error
        return self.asked


def test_callers_at_the_same_time_share_one_answer() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(flights, "name", question)
        assert question.under_way.wait(5)
        others = [pool.submit(flights, "name", question) for _ in range(7)]
        time.sleep(0.05)
        question.go.set()
        assert [future.result(5) for future in (first, *others)] == [1] * 8
    assert question.asked == 1


def test_who_has_no_time_left_does_not_wait_for_anothers_answer() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(flights, "name", question, patience=0)
        assert question.under_way.wait(5)
        for patience in (-1, 0, 0.05):
            with pytest.raises(TimeoutError):
                flights("name", question, patience=patience)
        question.go.set()
        assert first.result(5) == 1


def test_an_error_is_shared_and_the_next_caller_asks_anew() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question(RuntimeError("down"))
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(flights, "name", question)
        assert question.under_way.wait(5)
        second = pool.submit(flights, "name", question)
        time.sleep(0.05)
        question.go.set()
        for future in (first, second):
            with pytest.raises(RuntimeError, match="down"):
                future.result(5)
    assert question.asked == 1
    assert flights("name", lambda: 2) == 2


def test_different_names_do_not_wait_for_each_other() -> None:
    flights: SingleFlight[int] = SingleFlight()
    slow = Question()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(flights, "slow", slow)
        assert slow.under_way.wait(5)
        assert flights("quick", lambda: 7) == 7
        slow.go.set()
        assert future.result(5) == 1


def test_an_answer_is_not_remembered_afterwards() -> None:
    flights: SingleFlight[int] = SingleFlight()
    answers = iter((1, 2))
    assert [flights("name", lambda: next(answers)) for _ in range(2)] == [1, 2]


def test_a_caller_that_is_interrupted_leaves_nobody_waiting() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question(KeyboardInterrupt())
    question.go.set()
    with pytest.raises(KeyboardInterrupt):
        flights("name", question)
    assert flights("name", lambda: 3) == 3


def test_what_is_begun_is_shared_and_goes_on_without_whoever_began_it() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question()
    first, second = (flights.begin("name", question) for _ in range(2))
    assert first is second
    assert question.under_way.wait(5)
    assert not first.cancel()
    assert flights.is_under_way("name")
    question.go.set()
    assert (second.result(5), question.asked) == (1, 1)
    assert flights.begin("name", lambda: 2).result(5) == 2


def test_what_is_begun_shares_its_error_and_is_asked_anew() -> None:
    flights: SingleFlight[int] = SingleFlight()
    question = Question(RuntimeError("down"))
    futures = [flights.begin("name", question) for _ in range(2)]
    question.go.set()
    for future in futures:
        with pytest.raises(RuntimeError, match="down"):
            future.result(5)
    while flights.is_under_way("name"):
        time.sleep(0.001)
    assert flights.begin("name", lambda: 2).result(5) == 2


def test_what_is_begun_knows_no_deadline_of_who_began_it() -> None:
    with deadline(0.1):
        assert SingleFlight[float]().begin("name", seconds_left).result(5) == math.inf
