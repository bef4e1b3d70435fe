"""The routes, asked as the platform's users and the platform itself would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from example_app.extensions import db
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from ..conftest import CLIENT_ID, bearer

EVENT = "device:device_updated"


class Installed:
    """An example app that ``acme`` has installed."""

    def __init__(self, app: Flask, url: str, simulator: SimulatorServer, origin: str) -> None:
        self.app = app
        self.url = url
        self.platform = simulator.platform
        self.origin = origin
        assert self.platform.install(url, "acme", client_id=CLIENT_ID).ok

    def get(self, path: str, token: str | None = None) -> TestResponse:
        headers = {} if token is None else bearer(token)
        return self.app.test_client().get(path, query_string={"origin": self.origin}, headers=headers)

    def token(self, kind: str) -> str:
        if kind == "open":
            return self.platform.open_api_token()
        return {"user": self.platform.user_token, "connect": self.platform.connect_token}[kind]("acme")


@pytest.fixture(params=[True, False], ids=["testing", "serving"])
def installed(
    request: pytest.FixtureRequest,
    make_example: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    origin: str,
) -> Installed:
    app = make_example(TESTING=request.param)
    return Installed(app, serving(app), simulator, origin)


def assert_problem(answer: TestResponse, status: int, code: str | None = None) -> None:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == status
    assert code is None or answer.json["code"] == code


def test_a_user_sees_who_they_are(installed: Installed) -> None:
    me = installed.get("/platform/me", installed.token("user")).json
    assert me is not None
    assert me.pop("uuid")
    assert me == {
        "role": "HQ",
        "status": "Activated",
        "email": "admin@acme.example",
        "origin": installed.origin,
        "subdomain": "acme",
        "organization_id": installed.platform.organization("acme").id,
    }


def test_a_connect_app_sees_who_it_is(installed: Installed) -> None:
    answer = installed.get("/platform/app", installed.token("connect"))
    assert answer.json is not None
    assert set(answer.json) == {"id", "uuid", "organization_id", "role", "status", "scope"}
    assert answer.json["organization_id"] == installed.platform.organization("acme").id


def test_a_holder_of_an_open_api_token_sees_who_it_is(installed: Installed) -> None:
    answer = installed.get("/platform/open", installed.token("open"))
    assert answer.json is not None
    assert set(answer.json) == {"uuid", "role", "status"}


@pytest.mark.parametrize(
    ("path", "right"), [("me", "user"), ("users", "user"), ("app", "connect"), ("open", "open")]
)
def test_each_route_takes_its_own_credential_alone(installed: Installed, path: str, right: str) -> None:
    for kind in ("user", "connect", "open"):
        answer = installed.get(f"/platform/{path}", installed.token(kind))
        if kind == right:
            assert answer.status_code == 200
        else:
            assert_problem(answer, 401)
            assert "WWW-Authenticate" in answer.headers
    assert_problem(installed.get(f"/platform/{path}"), 401, "token_missing")
    webhook = installed.platform.webhook_token("acme")
    assert_problem(installed.get(f"/platform/{path}", webhook), 401, "token_of_another_kind")


def test_users_are_those_of_the_caller_s_organization(installed: Installed) -> None:
    answer = installed.get("/platform/users", installed.token("user"))
    assert answer.json is not None
    assert [user["email"] for user in answer.json["data"]] == ["admin@acme.example"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"status": 403, "body": {"error_code": "NO_SCOPE"}}, 502),
        ({"status": 200, "body": "<html>"}, 502),
        ({"status": 204, "body": ""}, 502),
        ({"status": 500}, 503),
        ({"status": 429}, 503),
        ({"drop": True}, 503),
    ],
)
def test_a_fault_of_the_platform_is_never_a_500(
    installed: Installed, fault: dict[str, Any], status: int
) -> None:
    token = installed.token("user")
    installed.platform.faults.set("/api/v1/users", **fault)
    assert_problem(installed.get("/platform/users", token), status)


def test_a_webhook_is_received(installed: Installed) -> None:
    outcome = installed.platform.webhook("acme", EVENT, {"profile_id": "Fixed.UWB.Anchor"})
    assert (outcome.status, outcome.body) == (200, {"received": True, "event": EVENT})


def test_no_line_end_hides_in_an_identifier(installed: Installed) -> None:
    body = {"organization_id": "an-organization\n", "shared_secret": "s" * 40}
    assert_problem(installed.app.test_client().post("/installed", json=body), 400)


def test_an_event_is_kept_acknowledged_and_handled_once(installed: Installed) -> None:
    token = installed.platform.webhook_token("acme")
    options = {"path": "/webhook/events", "token": token}
    for state in ("received", "duplicate"):
        outcome = installed.platform.webhook("acme", EVENT, {"profile_id": "Fixed.UWB.Anchor"}, **options)
        assert (outcome.status, outcome.body["state"]) == (202, state)
    installed.platform.webhook("acme", EVENT, {"profile_id": "Another.Profile"}, path="/webhook/events")
    get_state(installed.app).inbox.doorbell.close(10)
    changes = installed.get("/webhook/changes", installed.token("user")).json
    assert changes is not None
    assert [change["event"] for change in changes] == [EVENT]
    assert_problem(installed.get("/webhook/changes"), 401)


@pytest.mark.parametrize("payload", [[1], {"event_name": 5}, {"else": None}, "text", 0])
def test_a_webhook_that_names_its_event_otherwise_has_the_one_of_its_view(
    installed: Installed, payload: Any
) -> None:
    outcome = installed.platform.webhook("acme", EVENT, payload=payload)
    assert (outcome.status, outcome.body) == (200, {"received": True, "event": EVENT})


def test_a_forged_webhook_is_refused(installed: Installed) -> None:
    claims = {
        "issued_by": "meta-platform-webhook",
        "sub": f"organizationId:{installed.platform.organization('acme').id}",
        "exp": 4102444800,
    }
    forged = jwt.encode(claims, "another secret, which nobody has proven", algorithm="HS256")
    assert installed.platform.webhook("acme", EVENT, token=forged).status == 401
    answer = installed.app.test_client().post("/webhook/device", json={})
    assert_problem(answer, 401, "token_missing")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("", "application/json", 400),
        ("{}", "text/plain", 415),
        ('"' + "x" * 2_000_000 + '"', "application/json", 413),
        ('{"organization_id": 5, "shared_secret": "s"}', "application/json", 400),
    ],
)
def test_nothing_is_taken_from_a_bad_body(
    installed: Installed, body: str, content_type: str, status: int
) -> None:
    client = installed.app.test_client()
    paths = ["/installed", "/uninstalled"] if body.startswith('{"') else ["/installed", "/webhook/device"]
    headers = bearer(installed.platform.webhook_token("acme"))
    for path in paths:
        answer = client.post(path, data=body, content_type=content_type, headers=headers)
        assert_problem(answer, status)
    if body.startswith('{"'):
        assert answer.json is not None
        assert "organization_id" in answer.json["errors"]


def test_what_is_not_there_is_a_problem_too(installed: Installed) -> None:
    client = installed.app.test_client()
    assert_problem(client.get("/nothing/here"), 404)
    assert_problem(client.post("/platform/me"), 405)
    assert_problem(client.get("/webhook/device"), 405)


def test_health_never_asks_the_platform(installed: Installed) -> None:
    installed.platform.reset_log()
    answer = installed.app.test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert list(installed.platform.requests) == []


@pytest.mark.parametrize("testing", [True, False])
def test_health_tells_when_the_database_is_gone(make_example: Callable[..., Flask], testing: bool) -> None:
    app = make_example(
        TESTING=testing,
        MIGRATE_ON_START=False,
        SQLALCHEMY_DATABASE_URI="postgresql+psycopg://nobody@127.0.0.1:1/x",
    )
    assert_problem(app.test_client().get("/healthz"), 503)


def test_health_tells_when_migrations_are_missing(make_example: Callable[..., Flask]) -> None:
    app = make_example(MIGRATE_ON_START=False)
    client, runner = app.test_client(), app.test_cli_runner()
    assert_problem(client.get("/healthz"), 503)
    for arguments, status in (
        (["db", "upgrade", "0001"], 503),
        (["db", "upgrade"], 200),
        (["db", "downgrade"], 503),
        (["db", "upgrade"], 200),
        (["db", "stamp", "--purge", "head"], 200),
    ):
        assert runner.invoke(args=arguments).exit_code == 0
        assert client.get("/healthz").status_code == status
    # The migrations of a newer app are run before it is started: the older one goes on until then.
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = 'of-a-newer-app'"))
    assert client.get("/healthz").status_code == 200


def test_the_descriptor_is_served_and_its_webhooks_exist(installed: Installed) -> None:
    descriptor = installed.app.test_client().get("/connect.json").json
    assert descriptor is not None
    paths = {rule.rule for rule in installed.app.url_map.iter_rules()}
    hooks = descriptor["modules"]["webhooks"]
    callbacks = [hook["callback_api"].removeprefix(descriptor["baseUrl"]) for hook in hooks]
    assert callbacks == ["/webhook/device", "/webhook/events"]
    assert set(callbacks) <= paths
    assert set(descriptor["lifecycle"].values()) <= paths


def test_two_example_apps_in_one_process_share_nothing(
    make_example: Callable[..., Flask],
    simulator: SimulatorServer,
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    one = make_example()
    other = make_example(SQLALCHEMY_DATABASE_URI="sqlite:///other.sqlite")
    assert simulator.platform.install(serving(one), "acme").ok
    token = bearer(simulator.platform.user_token("acme"))
    statuses = [
        app.test_client().get("/platform/me", query_string={"origin": origin}, headers=token).status_code
        for app in (one, other)
    ]
    assert statuses == [200, 401]
