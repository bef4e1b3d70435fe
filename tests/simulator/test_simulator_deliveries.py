"""Deliveries in bursts, twice, late, out of order and forged; and what is reported of the answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result

from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.cli import simulate
from flask_orbro.simulator.errors import FieldError, SimulatorError
from flask_orbro.simulator.models import TAMPERS

EVENT = "device:device_updated"
RecordingApp = Any


@pytest.fixture
def platform(server: SimulatorServer, app: RecordingApp) -> Any:
    server.platform.install(app.url, "acme")
    app.received.clear()
    return server.platform


def numbers(app: RecordingApp) -> list[Any]:
    return [body["number"] for _, body, _ in app.received]


def test_a_burst_is_so_many_different_deliveries(platform: Any, app: RecordingApp) -> None:
    report = platform.deliver("acme", EVENT, {"a": 1}, count=20, concurrency=4)
    assert sorted(numbers(app)) == list(range(20))
    assert {path for path, _, _ in app.received} == {"/webhook/device"}
    assert {body["data"]["a"] for _, body, _ in app.received} == {1}
    assert (report.sent, report.answers, report.ok) == (20, {"genuine": {"200": 20}}, True)
    assert 0 < report.p50 <= report.p99 <= report.slowest <= report.seconds


def test_as_many_are_sent_at_once_as_told(platform: Any, app: RecordingApp) -> None:
    barrier = threading.Barrier(5, timeout=10)

    def answer(path: str, body: Any) -> Any:
        barrier.wait()
        return {}

    app.answer = answer
    assert platform.deliver("acme", EVENT, count=10, concurrency=5).ok


def test_a_duplicate_has_the_body_and_the_token_of_its_original(platform: Any, app: RecordingApp) -> None:
    report = platform.deliver("acme", EVENT, count=3, duplicates=2)
    assert numbers(app) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({(body["number"], token) for _, body, token in app.received}) == 3
    assert report.answers == {"genuine": {"200": 3}, "duplicate": {"200": 6}}


def test_replays_come_last(platform: Any, app: RecordingApp) -> None:
    report = platform.deliver("acme", EVENT, count=3, replay=True, concurrency=3)
    assert Counter(numbers(app)[3:]) == {0: 1, 1: 1, 2: 1}
    assert report.answers["replay"] == {"200": 3}


def test_an_order_can_be_had_again(platform: Any, app: RecordingApp) -> None:
    orders = []
    for seed in (1, 1, 2):
        app.received.clear()
        platform.deliver("acme", EVENT, count=20, reorder=True, seed=seed)
        orders.append(numbers(app))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(20)) != orders[0]


def test_what_the_app_answers_is_counted_by_its_words(platform: Any, app: RecordingApp) -> None:
    answers: list[Any] = [({"state": "received"}, 202), ({"code": "busy"}, 503), ("what", 200)]
    app.answer = lambda path, body: answers[body["number"]]
    report = platform.deliver("acme", EVENT, count=3)
    assert report.answers == {"genuine": {"202 received": 1, "503 busy": 1, "200": 1}}
    assert not report.ok


def test_an_app_that_takes_what_is_forged_is_not_ok(platform: Any, app: RecordingApp) -> None:
    for kind in TAMPERS:
        report = platform.deliver("acme", EVENT, tamper=[kind])
        assert report.answers["genuine"] == {"200": 1}
        # Only a body that is no JSON is refused by the small app of these tests.
        assert report.ok == (kind in ("body", "json")), kind


def test_an_app_that_does_not_answer_is_not_ok(platform: Any, app: RecordingApp) -> None:
    report = platform.deliver("acme", EVENT, path="http://127.0.0.1:5/\x00")
    assert report.answers == {"genuine": {"no answer": 1}}
    assert not report.ok


def test_what_cannot_be_sent_is_said(platform: Any) -> None:
    for options in ({"count": 0}, {"count": 10**9}, {"concurrency": 0}, {"tamper": ["everything"]}):
        with pytest.raises(FieldError):
            platform.deliver("acme", EVENT, **options)
    with pytest.raises(SimulatorError, match="install it first"):
        platform.deliver("nobody", EVENT)
    with pytest.raises(SimulatorError, match="no webhook registered"):
        platform.deliver("acme", "no:such")


@pytest.fixture
def run(server: SimulatorServer, app: RecordingApp) -> Callable[..., Result]:
    def run(*arguments: str, app_url: str = app.url) -> Result:
        where = ("--simulator", server.url, "--app-url", app_url)
        return CliRunner().invoke(simulate, ["webhook", "--event", EVENT, *arguments, *where])

    return run


def test_the_command_prints_a_report(platform: Any, run: Callable[..., Result], app: RecordingApp) -> None:
    options = (
        "--burst",
        "3",
        "--duplicates",
        "1",
        "--reorder",
        "--seed",
        "7",
        "--replay",
        "--concurrency",
        "2",
    )
    result = run(*options)
    assert result.exit_code == 0, result.output
    assert "9 deliveries to" in result.output
    for kind in ("genuine", "duplicate", "replay"):
        assert [kind, "200", "3"] in [line.split() for line in result.output.splitlines()]
    assert "p99" in result.output
    assert len(app.received) == 9
    failed = run("--tamper", "signature", "--tamper", "missing")
    assert failed.exit_code == 1
    assert "tampered: signature" in failed.output
    assert run("--tamper", "nonsense").exit_code == 2


@pytest.mark.parametrize(
    "many", [["--burst", "2"], ["--duplicates", "1"], ["--replay"], ["--tamper", "missing"]]
)
@pytest.mark.parametrize("single", [["--repeat", "3"], ["--older-sub"], ["--force"]])
def test_options_of_a_single_delivery_are_refused_with_those_of_many(
    run: Callable[..., Result], app: RecordingApp, many: list[str], single: list[str]
) -> None:
    refused = run(*many, *single)
    assert (refused.exit_code, f"Leave out {single[0]}: --burst" in refused.output) == (2, True)
    assert app.received == []


def test_every_refused_option_is_named(run: Callable[..., Result]) -> None:
    refused = run("--burst", "2", "--repeat", "2", "--older-sub", "--force")
    assert "Leave out --repeat and --older-sub and --force: " in refused.output


def test_the_control_api_names_a_wrong_field(
    platform: Any, server: SimulatorServer, app: RecordingApp
) -> None:
    with httpx2.Client() as client:
        for field, value in (("count", "x"), ("tamper", "x"), ("tamper", [7]), ("seed", 1.5), ("reorder", 1)):
            body = {"organization": "acme", "event": EVENT, "app_url": app.url, field: value}
            answer = client.post(f"{server.url}/simulator/deliveries", json=body)
            assert (answer.status_code, answer.json()["field"]) == (400, field)
