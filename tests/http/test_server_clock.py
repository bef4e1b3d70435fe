"""The platform's clock is read from answers that tell it, and from no others."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from flask_orbro.http.server_clock import ServerClock

NOW = 1_790_000_000.0


class Both:
    """Our clock and the monotonic one, stepped together."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.clock = ServerClock(lambda: NOW + self.passed, timer=lambda: 50 + self.passed)

    def answer(
        self,
        ahead: float,
        *,
        until_head: float = 0,
        until_read: float = 0,
        written: float = 1,
        **headers: str,
    ) -> float:
        """An answer of a platform whose clock is so far ahead; what is thought of it then.

        :param until_head: how long its head takes, in seconds.
        :param until_read: how long its body takes, after it.
        :param written: when its ``Date`` was written: 0: when it was asked, 1: just before the head came.
        """
        sent = self.passed
        date = formatdate(NOW + sent + ahead + written * until_head, usegmt=True)
        self.passed += until_head
        received = self.passed
        self.passed += until_read
        self.clock.observe({"date": date, **headers}, (50 + sent, 50 + received))
        self.passed += 1
        return self.clock.skew


@pytest.mark.parametrize("ahead", [0, 1.5, -1.5])
@pytest.mark.parametrize("written", [0, 1])
def test_a_clock_that_is_right_is_left_alone_however_slow_an_answer_is(ahead: float, written: float) -> None:
    both = Both()
    for until_head, until_read in ((0, 0), (0, 60), (25, 0), (25, 60), (3, 4), (0, 0)):
        assert both.answer(ahead, until_head=until_head, until_read=until_read, written=written) == 0


@pytest.mark.parametrize("ahead", [300, -300, 3.6, -3.5, 80_000, -80_000])
def test_a_clock_that_differs_is_understood_and_stays_so(ahead: float) -> None:
    both = Both()
    first = both.answer(ahead, until_head=0.02)
    assert first == pytest.approx(ahead, abs=1.1)
    for until_head, until_read in ((0, 60), (25, 0), (0.5, 3), (0, 0)):
        assert both.answer(ahead, until_head=until_head, until_read=until_read) == first
    assert both.answer(0) == 0, "and it is set right again"


def test_a_difference_that_a_slow_answer_tells_makes_no_token_of_the_future() -> None:
    for written in (0, 1):
        both = Both()
        assert 300 - 26 <= both.answer(300, until_head=25, written=written) <= 300


def test_an_answer_of_a_cache_tells_nothing() -> None:
    both = Both()
    assert both.answer(-3600, age="3600") == 0
    assert both.answer(-3600, age="nonsense") == 0
    assert both.answer(-3600, age="0") == -3600, "one that has just come through it does"


@pytest.mark.parametrize(
    "date",
    [
        "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
        "Fri, 32 Foo 9999", "", "nonsense", "1", "Mon, 01 Jan 99999999999 00:00:00 GMT", "٣",
    ],
)  # fmt: skip
def test_what_is_no_time_of_today_tells_nothing(date: str) -> None:
    clock = ServerClock(lambda: NOW)
    clock.observe({"date": date})
    assert clock.skew == 0
    clock.observe({})
    assert clock.skew == 0


def test_a_date_without_a_zone_is_greenwich_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        clock = ServerClock(lambda: NOW)
        clock.observe({"date": time.strftime("%a, %d %b %Y %H:%M:%S -0000", time.gmtime(NOW))})
        assert clock.skew == 0
    finally:
        monkeypatch.undo()
        time.tzset()
