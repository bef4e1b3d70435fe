"""Faults and the request log."""

from __future__ import annotations

import threading
import time

import httpx2
import pytest

from flask_orbro.simulator import SimulatorError, SimulatorServer

USER = "/api/v1/auth"


@pytest.fixture
def token(server):
    return server.platform.user_token("acme")


def test_status_and_json_body(server, ask, token):
    server.platform.faults.set(status=429, body={"x": 1}, headers={"Retry-After": "3"})
    answer = ask("GET", "acme", USER, token)
    assert (answer.status_code, answer.json()) == (429, {"x": 1})
    assert answer.headers["Retry-After"] == "3"


def test_status_alone_answers_json(server, ask, token):
    server.platform.faults.set(status=503)
    assert ask("GET", "acme", USER, token).json()["error_code"] == "FAULT"


def test_text_body_is_html_unless_said_otherwise(server, ask, token):
    server.platform.faults.set(body="<p>Sorry")
    answer = ask("GET", "acme", USER, token)
    assert (answer.status_code, answer.text) == (200, "<p>Sorry")
    assert answer.headers["Content-Type"].startswith("text/html")
    server.platform.faults.set(body="{", content_type="application/json")
    assert ask("GET", "acme", USER, token).headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "location",
    ["http://evil.example/steal", "/here", "http://[bad", "http://a:b/", "//", "%zz", "http://a b"],
)
def test_a_redirect_is_sent_as_it_is_written(server, ask, token, location):
    server.platform.faults.set(redirect=location)
    answer = ask("GET", "acme", USER, token)
    assert (answer.status_code, answer.headers["Location"]) == (302, location)


def test_bodiless_status_keeps_the_connection_in_step(server, ask, token):
    server.platform.faults.set(status=204, body="not to be sent", times=1)
    assert ask("GET", "acme", USER, token).content == b""
    assert ask("GET", "acme", USER, token).status_code == 200


def test_drop_closes_the_connection(server, ask, token):
    server.platform.faults.set(drop=True, times=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        ask("GET", "acme", USER, token)
    assert server.platform.requests[-1].status == 0
    assert ask("GET", "acme", USER, token).status_code == 200


def test_delay_comes_before_the_true_answer(server, ask, token):
    server.platform.faults.set(delay=0.15)
    start = time.monotonic()
    assert ask("GET", "acme", USER, token).status_code == 200
    assert time.monotonic() - start >= 0.15


def test_stop_does_not_wait_for_a_delay():
    with SimulatorServer() as server:
        server.platform.faults.set(delay=60)
        host = f"acme.{server.platform_host}"
        server.platform.organization("acme")

        def wait() -> None:
            httpx2.get(f"{server.url}{USER}", headers={"Host": host}, trust_env=False)

        client = threading.Thread(target=wait)
        client.start()
        time.sleep(0.2)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    client.join(5)
    assert not client.is_alive()


def test_times_counts_down(server, ask, token):
    server.platform.faults.set(status=500, times=2)
    statuses = [ask("GET", "acme", USER, token).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]


def test_the_most_exact_fault_wins(server, ask, token):
    server.platform.organization("globex")
    faults = server.platform.faults
    faults.set(status=500)
    faults.set(USER, status=501)
    faults.set(USER, organization="globex", status=502)
    assert ask("GET", "acme", USER).status_code == 501
    assert ask("GET", "globex", USER).status_code == 502
    assert ask("GET", "acme", "/api/v1/users").status_code == 500
    faults.clear(USER)
    assert ask("GET", "acme", USER).status_code == 500
    faults.clear()
    assert ask("GET", "acme", USER, token).status_code == 200


def test_faults_spare_the_control_api(server, control):
    server.platform.faults.set(status=500)
    assert control("GET", "/simulator/state").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"status": 100},
        {"status": 600},
        {"delay": -1},
        {"delay": float("nan")},
        {"drop": True, "times": 0},
        {"redirect": "http://x\r\nSet-Cookie: a"},
        {"status": 200, "headers": {"X": "a\nb"}},
        {"status": 200, "organization": "a.b"},
    ],
    ids=str,
)
def test_wrong_faults_are_refused(server, wrong):
    with pytest.raises(SimulatorError):
        server.platform.faults.set(**wrong)
    assert server.platform.faults.active() == ()


def test_log_holds_no_token_and_no_query(server, ask, token):
    ask("GET", "acme", f"{USER}?token={token}", token)
    ask("GET", "acme", USER)
    first, second = server.platform.requests
    assert (first.method, first.path, first.status) == ("GET", USER, 200)
    assert first.host == f"acme.{server.platform_host}"
    assert (first.has_authorization, second.has_authorization) == (True, False)
    assert token not in repr(server.platform.requests)
    assert server.platform.counts[USER] == 2
    server.platform.reset_log()
    assert (len(server.platform.requests), dict(server.platform.counts)) == (0, {})


def test_log_is_bounded(server):
    for number in range(10_050):
        server.platform.log("GET", "h", f"/{number}", 200, has_authorization=False)
    assert len(server.platform.requests) == 1000
    assert len(server.platform.counts) == 10_000
