"""Every refusal is recorded once, with its exact reason and whom it is about, wherever it comes from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import pytest
from flask import current_app
from werkzeug.exceptions import HTTPException

from flask_orbro import OrbroConnect, problem_response, webhook_required

from .conftest import bearer
from .world import KINDS, USER_PATH, World, is_problem, webhook_token

every_kind = pytest.mark.parametrize("kind", KINDS)
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])

Records = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """The audit records since this was last called."""

    def since() -> list[dict[str, Any]]:
        found = [vars(record)["orbro"] for record in caplog.records if record.name == "flask_orbro.audit"]
        caplog.clear()
        return found

    return since


def undecorated(view: Any) -> Any:
    """No decorator of ours; flask-restx alone does not run async methods."""

    @wraps(view)
    def run(*args: Any) -> Any:
        return current_app.ensure_sync(view)(*args)

    return run


@every_kind
@both_modes
@pytest.mark.parametrize("own_handler", [True, False])
def test_a_refusal_that_no_decorator_has_made_is_recorded_once(
    make_world: Callable[..., World], records: Records, kind: str, testing: bool, own_handler: bool
) -> None:
    orbro = OrbroConnect()
    views = {
        "/forward": (undecorated, lambda: orbro.connections["notes"].get("/").json()),
        "/foreign": (undecorated, lambda: orbro.client_for("nobody").get("/").json()),
    }
    notes = {"url": "http://127.0.0.1:1", "auth": {"kind": "forward"}}
    settings = {"TESTING": testing, "ORBRO_CONNECTIONS": {"notes": notes}}
    world = make_world(orbro=orbro, kind=kind, views=views, install=False, **settings)
    if own_handler:
        world.app.register_error_handler(HTTPException, problem_response)
    world.install()
    records()
    world.client.get("/forward")
    world.client.get("/forward", headers=bearer(world.platform.user_token("acme")))
    world.client.get("/foreign", query_string={"origin": "who"})
    world.get("/user")
    told = records()
    assert [(record["status"], record["reason"]) for record in told] == [
        (401, "token_missing"),
        (401, "token_of_another_kind"),
        (403, "unknown_organization"),
        (401, "token_missing"),
    ]
    assert [record["credential"] for record in told] == [None, None, None, "user"]
    assert told[2]["named"] == "'who'"
    assert all(record["endpoint"] for record in told)


@every_kind
@both_modes
def test_a_call_of_the_apps_own_that_fails_refuses_nobody(
    make_world: Callable[..., World], records: Records, kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_CALL_ATTEMPTS=1)
    token = world.platform.user_token("acme")
    records()
    for status in (403, 429, 503):
        world.platform.faults.set("/api/v1/users", status=status, body={})
        assert world.get("/users", token).status_code in (502, 503)
    assert world.get("/nowhere", token).status_code == 404
    assert records() == []


@both_modes
def test_an_equal_delivery_that_is_being_handled_is_recorded(
    make_world: Callable[..., World], records: Records, testing: bool
) -> None:
    arrived, go = threading.Event(), threading.Event()

    def handle() -> dict[str, Any]:
        arrived.set()
        assert go.wait(10)
        return {}

    views = {"/webhook/once": (webhook_required(deduplicate=True), handle)}
    world = make_world(views=views, TESTING=testing)
    headers = bearer(world.platform.webhook_token("acme"))

    def deliver() -> int:
        return world.client.post("/webhook/once", headers=headers, json={}).status_code

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(deliver)
        assert arrived.wait(10)
        records()
        assert deliver() == 503
        go.set()
        assert first.result(10) == 200
    (record,) = records()
    assert record["status"] == 503


@both_modes
def test_who_calls_the_lifecycle_too_often_is_recorded(
    make_world: Callable[..., World], records: Records, testing: bool
) -> None:
    world = make_world(install=False, TESTING=testing, ORBRO_LIFECYCLE_LIMIT="1 per minute")
    for _ in range(3):
        world.client.post("/enabled", json={"organization_id": "o1"})
    told = records()
    assert [(record["status"], record["reason"]) for record in told] == [
        (404, "unknown_organization"),
        (429, "too_many_requests"),
        (429, "too_many_requests"),
    ]
    assert {record["endpoint"] for record in told} == {"orbro.enabled"}


@both_modes
def test_a_refusal_says_whose_it_is_wherever_that_is_known(
    make_world: Callable[..., World], records: Records, testing: bool
) -> None:
    world = make_world(TESTING=testing, ORBRO_TRUST_ENABLED_DISABLED=True, ORBRO_ORGANIZATION_TTL=0)
    stored = world.stored()
    assert stored is not None
    secret = stored.shared_secret or ""
    records()

    def deliver(token: str, **body: Any) -> int:
        return world.deliver(token, **body).status_code

    good = webhook_token(secret, world.organization_id)
    assert deliver(webhook_token(secret, world.organization_id, exp=1)) == 401
    assert deliver(webhook_token(secret, world.organization_id, issued_by="me")) == 401
    assert deliver(good, data=b"{", content_type="application/json") == 400
    assert deliver(good, data=b"{}", content_type="text/plain") == 415
    assert world.client.post("/disabled", json={"organization_id": world.organization_id}).status_code == 200
    assert deliver(good) == 403
    assert world.get("/user", world.platform.user_token("acme")).status_code == 403
    told = records()
    assert [record["reason"] for record in told] == [
        "token_expired",
        "token_invalid",
        "json_malformed",
        "unsupported_media_type",
        "organization_disabled",
        "organization_disabled",
    ]
    assert [record["detail"] for record in told[:2]] == ["expired", "issuer"]
    assert {record["organization"] for record in told} == {world.organization_id}


@both_modes
def test_a_refusal_is_nobodys_where_nobody_is_known(
    make_world: Callable[..., World], records: Records, testing: bool
) -> None:
    world = make_world(TESTING=testing)
    for token in (
        webhook_token("another-secret-that-is-long-enough", world.organization_id),
        webhook_token("another-secret-that-is-long-enough", world.organization_id, exp=1),
        "a.b.c",
    ):
        assert world.deliver(token).status_code == 401
    assert world.client.get("/user", headers=bearer("x")).status_code == 400
    assert {record["organization"] for record in records()} == {None}


@both_modes
@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        ({"status": 500, "body": {}}, "status_500"),
        ({"status": 404, "body": {}}, "status_404"),
        ({"status": 200, "body": "<h1>Log in</h1>"}, "status_200_without_json_object"),
        ({"status": 200, "body": {"role": "HQ", "status": "A"}}, "member_uuid"),
        ({"drop": True}, "RemoteProtocolError"),
    ],
)
def test_why_there_is_no_verdict_is_recorded_and_not_told(
    make_world: Callable[..., World], records: Records, testing: bool, fault: dict[str, Any], detail: str
) -> None:
    world = make_world(TESTING=testing)
    world.platform.faults.set(USER_PATH, **fault)
    answer = world.get("/user", world.platform.user_token("acme"))
    assert detail not in is_problem(answer, 503)["detail"]
    (record,) = records()
    assert record["detail"] == detail


def test_an_outage_that_is_known_is_recorded_as_such(
    make_world: Callable[..., World], records: Records
) -> None:
    world = make_world(ORBRO_OUTAGE_MEMORY=30)
    world.platform.faults.set(USER_PATH, drop=True)
    for token in ("one", "another"):
        is_problem(world.get("/user", token), 503)
    assert [record["detail"] for record in records()] == ["RemoteProtocolError", "known_outage"]
