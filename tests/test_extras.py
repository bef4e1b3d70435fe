"""Metrics and rate limits: off unless installed and switched on."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from flask_orbro import ConfigurationError, OrbroConnect, PlatformError, user_required
from flask_orbro.protocol import CONNECT_PATH
from flask_orbro.simulator import SimulatorServer

from .conftest import CLIENT_ID, bearer

CALL = {"organization_id": "o-1"}


def test_metrics_count_requests_verdicts_and_questions(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    orbro = OrbroConnect()
    app, other_orbro = make_app(orbro, ORBRO_METRICS=True), OrbroConnect()
    other = make_app(other_orbro, ORBRO_METRICS=True)

    @app.get("/me")
    @user_required
    def me() -> str:
        return "in"

    @app.get("/anybody")
    @user_required(optional=True)
    def anybody() -> str:
        return "in"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    token = simulator.platform.user_token("acme")
    for headers in ({}, bearer(token), bearer(token)):
        app.test_client().get("/me", query_string={"origin": origin}, headers=headers)
    assert app.test_client().get("/anybody").status_code == 200

    with app.app_context():
        sample = orbro.metrics_registry.get_sample_value
    assert sample("orbro_requests_total", {"credential": "user", "outcome": "accepted"}) == 2
    assert sample("orbro_requests_total", {"credential": "user", "outcome": "token_missing"}) == 1
    assert sample("orbro_requests_total", {"credential": "user", "outcome": "anonymous"}) == 1
    assert sample("orbro_verdicts_total", {"remembered": "yes"}) == 1
    assert sample("orbro_verdicts_total", {"remembered": "no"}) == 1
    question = {"question": "/api/v1/auth", "outcome": "accepted"}
    assert sample("orbro_remote_seconds_count", question) == 1
    with other.app_context():
        assert (
            other_orbro.metrics_registry.get_sample_value("orbro_verdicts_total", {"remembered": "yes"}) == 0
        )


def test_metrics_count_proofs_and_token_requests(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro, ORBRO_METRICS=True, ORBRO_PROOF_TIMEOUT=0.3, ORBRO_CALL_ATTEMPTS=1)
    url, platform = serving(app), simulator.platform
    with app.app_context():
        sample, util = orbro.metrics_registry.get_sample_value, orbro.token_util

    def counted(question: str, outcome: str) -> tuple[float | None, float | None]:
        labels = {"question": question, "outcome": outcome}
        return tuple(sample(f"orbro_remote_seconds_{what}", labels) for what in ("count", "sum"))  # type: ignore[return-value]

    assert platform.install(url, "acme", client_id=CLIENT_ID).ok
    assert counted("proof", "accepted")[0] == 1
    call = {"organization_id": "o-1", "shared_secret": "f" * 40, "subdomain": "acme"}
    assert app.test_client().post("/installed", json=call).status_code == 200
    assert counted("proof", "refused")[0] == 1
    platform.faults.set(CONNECT_PATH, delay=0.6)
    assert app.test_client().post("/installed", json=call | {"organization_id": "o-2"}).status_code == 200
    count, seconds = counted("proof", "fault")
    assert count == 1
    assert 0.3 <= (seconds or 0) < 0.6
    assert counted(CONNECT_PATH, "accepted") == (None, None)  # that would be a caller

    with app.app_context():
        util.issue_app_token_by_remote(platform.user_token("acme"), origin)
        for outcome, fault in (("refused", 401), ("rate_limited", 429), ("fault", 500)):
            platform.faults.set("/api/v1/oauth", status=fault)
            with pytest.raises(PlatformError):
                util.issue_app_token_by_remote("x", origin)
            assert counted("app_token", outcome)[0] == 1
    assert counted("app_token", "accepted")[0] == 1


def test_metrics_that_are_off_say_so(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    with make_app(orbro).app_context(), pytest.raises(ConfigurationError, match="ORBRO_METRICS"):
        _ = orbro.metrics_registry


@pytest.mark.parametrize("testing", [True, False])
def test_lifecycle_calls_are_limited_by_address(make_app: Callable[..., Flask], testing: bool) -> None:
    app = make_app(TESTING=testing, ORBRO_LIFECYCLE_LIMIT="3 per minute")
    client = app.test_client()
    answers = [client.post("/uninstalled", json=CALL) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert answers[3].content_type == "application/problem+json"
    assert answers[3].get_json()["code"] == "too_many_requests"
    assert int(answers[3].headers["Retry-After"]) > 0
    elsewhere = client.post("/uninstalled", json=CALL, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 404


def test_the_descriptor_is_not_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(ORBRO_LIFECYCLE_LIMIT="3 per minute").test_client()
    assert {client.get("/connect.json").status_code for _ in range(10)} == {200}


def test_the_limit_of_the_lifecycle_counts_nowhere_else(make_app: Callable[..., Flask]) -> None:
    app = make_app(ORBRO_LIFECYCLE_LIMIT="3 per minute", RATELIMIT_DEFAULT="2 per minute")
    app.add_url_rule("/own", "own", dict)
    client = app.test_client()
    assert {client.get("/own").status_code for _ in range(5)} == {200}
    assert [client.post("/uninstalled", json=CALL).status_code for _ in range(4)] == [404, 404, 404, 429]


def test_the_apps_own_limiter_goes_on_counting(make_app: Callable[..., Flask]) -> None:
    app = make_app(ORBRO_LIFECYCLE_LIMIT="3 per minute", RATELIMIT_DEFAULT="2 per minute")
    Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/own", "own", dict)
    client = app.test_client()
    assert [client.get("/own").status_code for _ in range(3)] == [200, 200, 429]


def test_without_a_limit_nothing_is_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    assert {client.post("/uninstalled", json=CALL).status_code for _ in range(50)} == {404}


@pytest.mark.parametrize(
    ("setting", "value", "module", "extra"),
    [
        ("ORBRO_METRICS", True, "prometheus_client", "metrics"),
        ("ORBRO_LIFECYCLE_LIMIT", "3 per minute", "flask_limiter", "limiter"),
        ("ORBRO_REDIS_URL", "redis://127.0.0.1:6379/0", "redis", "redis"),
    ],
)
def test_a_missing_extra_is_named(
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: object,
    module: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"{setting}.*flask-orbro\[{extra}\]"):
        make_app(**{setting: value})


def test_a_limit_that_cannot_be_read_is_named(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(ConfigurationError, match="ORBRO_LIFECYCLE_LIMIT must be a limit such as"):
        make_app(ORBRO_LIFECYCLE_LIMIT="now and then")
