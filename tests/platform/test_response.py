"""What a call gives: an answer, or an error that says what went wrong, and answers by itself in a view."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from flask import request

from flask_orbro import (
    PlatformError,
    PlatformInvalidResponse,
    PlatformRateLimited,
    PlatformRefused,
    PlatformResponse,
    PlatformUnavailable,
    user_required,
    webhook_required,
)

from ..conftest import bearer
from ..world import KINDS, USERS_PATH, is_problem, webhook_token
from .conftest import MakeCaller, MakeWorld, tokens_of

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


@pytest.mark.parametrize(
    ("fault", "error", "attributes"),
    [
        ({"status": 400, "body": {"error_code": "BAD"}, "headers": {"X-Request-Id": "r1"}}, PlatformRefused,
         {"status": 400, "error_code": "BAD", "request_id": "r1", "code": 502}),
        ({"status": 404, "body": "<h1>Gone</h1>"}, PlatformRefused,
         {"status": 404, "error_code": None, "request_id": None}),
        ({"status": 429, "headers": {"Retry-After": "9"}}, PlatformRateLimited,
         {"retry_after": 9, "code": 503}),
        ({"status": 429}, PlatformRateLimited, {"retry_after": 1}),
        ({"status": 500}, PlatformUnavailable, {"code": 503, "retry_after": 1}),
        ({"status": 503, "body": "<h1>Busy</h1>", "headers": {"Retry-After": "7"}}, PlatformUnavailable,
         {"code": 503, "retry_after": 7}),
    ],
)  # fmt: skip
def test_raise_for_status_raises_what_it_says(
    make_caller: MakeCaller, fault: dict[str, Any], error: type[Any], attributes: dict[str, Any]
) -> None:
    call = make_caller(ORBRO_CALL_ATTEMPTS=1)
    call.world.platform.faults.set(USERS_PATH, **fault)
    response = call()
    assert isinstance(response, PlatformResponse)
    with pytest.raises(error) as raised:
        response.raise_for_status()
    assert isinstance(raised.value, PlatformError)
    assert {name: getattr(raised.value, name) for name in attributes} == attributes
    with pytest.raises(error) as raised:
        call.download()
    assert {name: getattr(raised.value, name) for name in attributes} == attributes


def test_raise_for_status_lets_good_answers_through(make_caller: MakeCaller) -> None:
    call = make_caller()
    for status in (200, 204, 304):
        call.world.platform.faults.set(USERS_PATH, status=status)
        response = call()
        assert (response.status_code, response.raise_for_status() is response) == (status, True)


@pytest.mark.parametrize(
    "fault",
    [
        {"body": "<h1>Maintenance</h1>"},
        {"body": "", "content_type": "application/json"},
        {"body": '{"data": [', "content_type": "application/json"},
        {"body": "[" * 100_000, "content_type": "application/json"},
        {"status": 204},
    ],
    ids=["a page", "nothing", "half of it", "too deep", "no content"],
)
def test_an_answer_that_is_not_json_names_the_call(make_caller: MakeCaller, fault: dict[str, Any]) -> None:
    call = make_caller()
    call.world.platform.faults.set(USERS_PATH, **{"status": 200, **fault})
    response = call(path=USERS_PATH + "?key=hidden-word")
    with pytest.raises(PlatformInvalidResponse, match=f"GET {USERS_PATH} with 20[04] and no JSON") as raised:
        response.json()
    assert isinstance(raised.value, ValueError), "as the HTTP library's own"
    assert (raised.value.code, "hidden-word" in str(raised.value)) == (502, False)


def test_json_takes_what_the_standard_library_takes(make_caller: MakeCaller) -> None:
    document = make_caller()().json(parse_float=str, object_hook=dict)
    assert document["data"][0]["email"] == "admin@acme.example"


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": True},
        {"delay": 20},
        {"status": 200, "body": "no gzip", "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=["dropped", "hung", "packed badly"],
)
def test_no_answer_is_a_typed_error_and_never_none(make_caller: MakeCaller, fault: dict[str, Any]) -> None:
    call = make_caller(ORBRO_REQUEST_TIMEOUT=0.3, ORBRO_CALL_ATTEMPTS=2)
    call.world.platform.faults.set(USERS_PATH, **fault)
    began = time.monotonic()
    with pytest.raises(PlatformUnavailable):
        call()
    assert time.monotonic() - began < 3


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_an_unhandled_platform_error_answers_by_itself(
    make_world: MakeWorld, kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_REQUEST_TIMEOUT=0.3)
    token = world.platform.user_token("acme")
    for fault, status, retry in (
        ({"status": 500}, 503, "1"),
        ({"drop": True}, 503, "1"),
        ({"status": 429, "headers": {"Retry-After": "9"}}, 503, "9"),
        ({"status": 409, "body": {"error_code": "SECRET-DETAIL"}}, 502, None),
        ({"status": 401, "body": {}}, 502, None),
        ({"status": 200, "body": "<h1>SECRET-DETAIL</h1>"}, 502, None),
        ({"status": 302, "redirect": "http://login.example/SECRET-DETAIL"}, 502, None),
    ):
        world.platform.faults.set(USERS_PATH, **fault)
        answer = world.get("/users", token)
        is_problem(answer, status)
        assert answer.headers.get("Retry-After") == retry
        assert "WWW-Authenticate" not in answer.headers
        assert b"SECRET-DETAIL" not in answer.data


@both_modes
def test_an_unhandled_error_of_an_async_call_answers_by_itself(make_world: MakeWorld, testing: bool) -> None:
    world = make_world(install=False, TESTING=testing, ORBRO_REQUEST_TIMEOUT=0.3)

    @world.app.get("/later")
    @user_required
    async def later() -> Any:
        return (await world.orbro.async_client().get(USERS_PATH)).raise_for_status().json()

    world.install()
    token = world.platform.user_token("acme")
    assert "admin@acme.example" in json.dumps(world.get("/later", token).json)
    for fault, status in (({"drop": True}, 503), ({"status": 409}, 502), ({"status": 429}, 503)):
        world.platform.faults.set(USERS_PATH, **fault)
        is_problem(world.get("/later", token), status)


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_caller_sends_that_cannot_be_sent_on_is_the_callers_mistake(
    make_world: MakeWorld, kind: str, testing: bool
) -> None:
    def one() -> Any:
        return world.orbro.client.get(f"{USERS_PATH}/{request.args['id']}").raise_for_status().json()

    def note() -> Any:
        return world.orbro.client.post(USERS_PATH, json=request.get_json()).raise_for_status().json()

    views = {"/one": (user_required, one), "/webhook/note": (webhook_required, note)}
    world = make_world(kind=kind, views=views, TESTING=testing)
    token = world.platform.user_token("acme")
    before = len(tokens_of(world))
    for strange in ("a b", "a#b", "\\x", "a\nb", "\x00", "\u2028"):
        query = {"origin": world.origin(), "id": strange}
        answer = world.client.get("/one", query_string=query, headers=bearer(token))
        assert is_problem(answer, 400)["code"] == "invalid_call"
    installation = world.platform.installation("acme")
    answer = world.client.post(
        "/webhook/note",
        data=b'{"name": "\\ud800"}',
        content_type="application/json",
        headers=bearer(webhook_token(installation.shared_secret, world.organization_id)),
    )
    assert is_problem(answer, 400)["code"] == "invalid_call"
    assert len(tokens_of(world)) == before


@both_modes
def test_an_organization_that_was_removed_answers_403(make_world: MakeWorld, testing: bool) -> None:
    def other() -> Any:
        return world.orbro.client_for("removed").get(USERS_PATH).json()

    world = make_world(views={"/other": (user_required, other)}, TESTING=testing)
    assert is_problem(world.get("/other", world.platform.user_token("acme")), 403)
