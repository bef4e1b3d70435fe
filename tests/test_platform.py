"""Calling the platform: the right token on a warm connection, and an answer or a typed error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from flask import Flask, request

from flask_orbro import (
    ConfigurationError,
    NotAllowed,
    PlatformClient,
    PlatformError,
    PlatformRateLimited,
    PlatformRefused,
    PlatformResponse,
    PlatformUnavailable,
    user_required,
)

from .conftest import CLIENT_ID, serve
from .world import KINDS, USERS_PATH, World, is_problem

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


def client_of(world: World, subdomain: str = "acme") -> PlatformClient:
    return world.orbro.client_for(world.platform.organization(subdomain).id, app=world.app)


def tokens_of(world: World, path: str = USERS_PATH) -> list[str]:
    return [token.removeprefix("Bearer ") for seen, token in world.seen if seen == path]


def test_every_method_reaches_the_platform(make_world: Callable[..., World]) -> None:
    world = make_world()
    client = client_of(world)
    made = client.post(USERS_PATH, json={"email": "new@acme.example"}).raise_for_status().json()
    one = f"{USERS_PATH}/{made['id']}"
    assert client.get(one).json()["email"] == "new@acme.example"
    assert client.patch(one, json={"name": "New"}).json()["name"] == "New"
    assert client.put(one, json={"email": "newer@acme.example"}).json()["name"] == ""
    assert client.head(one).status_code == 200
    assert "PATCH" in client.options(one).headers["Allow"]
    assert client.delete(one).status_code == 204
    assert client.request("GET", one).status_code == 404
    sent = {record.method for record in world.platform.requests if record.path.startswith(USERS_PATH)}
    assert sent == {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def test_data_is_sent_as_json_as_the_old_sdk_did(make_world: Callable[..., World]) -> None:
    world = make_world()
    kinds: list[str] = []
    world.watch(lambda sent: kinds.append(sent.get("CONTENT_TYPE", "")))
    made = client_of(world).post(USERS_PATH, data={"email": "é@acme.example"})
    assert (made.status_code, made.json()["email"]) == (201, "é@acme.example")
    assert client_of(world).post(USERS_PATH, data=["no", "object"]).status_code == 400
    assert kinds == ["application/json"] * 2


def test_a_call_says_who_it_is_from(make_world: Callable[..., World]) -> None:
    world = make_world()
    agents: list[str] = []
    world.watch(lambda sent: agents.append(sent["HTTP_USER_AGENT"]))
    client_of(world).get(USERS_PATH)
    row = world.stored()
    assert row is not None
    claims = jwt.decode(tokens_of(world)[0], row.shared_secret or "", algorithms=["HS256"])
    assert claims["iss"] == CLIENT_ID
    assert claims["sub"] == f"uuid:{row.installed_user_id}"
    assert claims["issued_by"] == "meta-platform-connect"
    assert claims["exp"] - claims["iat"] == 1800
    assert agents == ["meta-platform-connect"]


def test_a_token_is_minted_once_and_kept(make_world: Callable[..., World], monkeypatch: Any) -> None:
    world = make_world()
    world.install("other")
    clock = time.time()
    for seconds in range(3):  # a token that is minted anew tells another time
        monkeypatch.setattr(time, "time", lambda later=seconds: clock + later)
        assert client_of(world).get(USERS_PATH).status_code == 200
    assert len(set(tokens_of(world))) == 1
    assert client_of(world, "other").get(USERS_PATH).status_code == 200
    assert len(set(tokens_of(world))) == 2


def test_a_rotated_secret_ends_its_tokens(make_world: Callable[..., World]) -> None:
    world = make_world()
    client = client_of(world)
    assert client.get(USERS_PATH).status_code == 200
    world.install()
    assert client_of(world).get(USERS_PATH).status_code == 200
    assert client.get(USERS_PATH).status_code == 200, "a client that was made before it keeps working"


def test_connections_are_pooled(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    connections: list[Any] = []
    server: Any = world.simulator._server
    accept = server.process_request
    monkeypatch.setattr(server, "process_request", lambda *call: (connections.append(call), accept(*call)))
    world.orbro.client_for(world.organization_id, app=world.app)
    for _ in range(20):
        client_of(world).get(USERS_PATH)
    assert len(connections) <= 1
    barrier = threading.Barrier(8)

    def call(_: int) -> int:
        barrier.wait(10)
        return [client_of(world).get(USERS_PATH).status_code for _ in range(5)].count(200)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(call, range(8))) == 40
    assert len(connections) <= 8


def test_an_expired_token_is_renewed_once_and_not_twice(make_world: Callable[..., World]) -> None:
    world = make_world()
    expired = {"error_code": "TOKEN_EXPIRED"}
    for status in (401, 403, 400, 500):
        before = len(tokens_of(world))
        world.platform.faults.set(USERS_PATH, status=status, body=expired, times=1)
        assert client_of(world).get(USERS_PATH).status_code == 200
        assert len(tokens_of(world)) - before == 2
    before = len(tokens_of(world))
    world.platform.faults.set(USERS_PATH, status=401, body=expired)
    answer = client_of(world).get(USERS_PATH)
    assert (answer.status_code, len(tokens_of(world)) - before) == (401, 2)


def test_the_body_is_sent_again_with_the_new_token(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.platform.faults.set(USERS_PATH, status=401, body={"error_code": "TOKEN_EXPIRED"}, times=1)
    made = client_of(world).post(USERS_PATH, json={"email": "new@acme.example"})
    assert (made.status_code, made.json()["email"]) == (201, "new@acme.example")


def test_another_refusal_is_not_sent_again(make_world: Callable[..., World]) -> None:
    world = make_world()
    for count, status in enumerate((400, 401, 403, 404, 409, 500), 1):
        world.platform.faults.set(USERS_PATH, status=status, body={"error_code": "OTHER"})
        assert client_of(world).get(USERS_PATH).status_code == status
        assert len(tokens_of(world)) == count


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
        ({"status": 500}, PlatformUnavailable, {"code": 503}),
        ({"status": 503, "body": "<h1>Busy</h1>"}, PlatformUnavailable, {"code": 503}),
    ],
)  # fmt: skip
def test_raise_for_status_raises_what_it_says(
    make_world: Callable[..., World], fault: dict[str, Any], error: type[Any], attributes: dict[str, Any]
) -> None:
    world = make_world()
    world.platform.faults.set(USERS_PATH, **fault)
    response = client_of(world).get(USERS_PATH)
    assert isinstance(response, PlatformResponse)
    with pytest.raises(error) as raised:
        response.raise_for_status()
    assert isinstance(raised.value, PlatformError)
    assert {name: getattr(raised.value, name) for name in attributes} == attributes


def test_raise_for_status_lets_good_answers_through(make_world: Callable[..., World]) -> None:
    world = make_world()
    response = client_of(world).get(USERS_PATH)
    assert response.raise_for_status() is response


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": True},
        {"delay": 20},
        {"status": 200, "body": "no gzip", "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=["dropped", "hung", "packed badly"],
)
def test_no_answer_is_a_typed_error_and_never_none(
    make_world: Callable[..., World], fault: dict[str, Any]
) -> None:
    world = make_world(ORBRO_REQUEST_TIMEOUT=0.3)
    world.platform.faults.set(USERS_PATH, **fault)
    began = time.monotonic()
    with pytest.raises(PlatformUnavailable):
        client_of(world).get(USERS_PATH)
    assert time.monotonic() - began < 3


ODD_PATHS: list[Any] = [
    "http://evil.example/", "https://evil.example", "//evil.example/", "/\\evil.example", "\\\\evil.example",
    "evil.example", "@evil.example", ".evil.example", ":80/", "", " /api", "/a b", "/a\nb", "/a\r\nX: y",
    "/a\x00", "?a", "#a", None, 7, b"/api", ["/api"],
]  # fmt: skip


def test_a_path_that_could_name_another_host_is_refused_before_anything_is_sent(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    questions = len(world.seen)
    for path in ODD_PATHS:
        for method in ("get", "post"):
            with pytest.raises(ValueError, match="path on the platform"):
                getattr(client_of(world), method)(path)
    assert len(world.seen) == questions


def test_a_path_that_only_looks_odd_stays_at_the_platform(make_world: Callable[..., World]) -> None:
    world = make_world()
    for path in ("/@evil.example", "/..//evil.example", "/a/http://evil.example", "/a?b=//c", "/%2f%2fevil"):
        assert client_of(world).get(path).url.host == "acme.orbro.localhost"


def test_a_redirect_is_not_followed_with_the_credential(make_world: Callable[..., World]) -> None:
    world = make_world()
    shown: list[str | None] = []
    stranger = Flask("stranger")
    stranger.before_request(lambda: shown.append(request.headers.get("Authorization")) or {})
    with serve(stranger) as url:
        for status in (301, 302, 303, 307, 308):
            world.platform.faults.set(USERS_PATH, status=status, redirect=url)
            response = client_of(world).post(USERS_PATH, json={})
            assert (response.status_code, response.headers["Location"]) == (status, url)
    assert shown == []


def test_a_cookie_of_one_organization_is_not_shown_for_another(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.install("other")
    cookies: list[str] = []
    world.watch(lambda sent: cookies.append(sent.get("HTTP_COOKIE", "")))
    wide = {"Set-Cookie": "a=b; Domain=orbro.localhost; Path=/"}
    world.platform.faults.set(USERS_PATH, status=200, body={}, headers=wide)
    for name in ("acme", "other", "acme"):
        client_of(world, name).get(USERS_PATH)
    assert cookies == ["", "", ""]


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_an_unhandled_platform_error_answers_by_itself(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_REQUEST_TIMEOUT=0.3)
    token = world.platform.user_token("acme")
    for fault, status, retry in (
        ({"status": 500}, 503, True),
        ({"drop": True}, 503, True),
        ({"status": 429, "headers": {"Retry-After": "9"}}, 503, True),
        ({"status": 409, "body": {"error_code": "SECRET-DETAIL"}}, 502, False),
        ({"status": 401, "body": {}}, 502, False),
    ):
        world.platform.faults.set(USERS_PATH, **fault)
        answer = world.get("/users", token)
        is_problem(answer, status)
        assert ("Retry-After" in answer.headers) == retry
        assert "WWW-Authenticate" not in answer.headers
        assert b"SECRET-DETAIL" not in answer.data


def test_client_for_works_where_there_is_no_request(make_world: Callable[..., World]) -> None:
    world = make_world()
    with world.app.app_context():
        assert world.orbro.client_for(world.organization_id).get(USERS_PATH).status_code == 200
    found: list[int] = []
    client = world.orbro.client_for(world.organization_id, app=world.app)
    thread = threading.Thread(target=lambda: found.append(client.get(USERS_PATH).status_code))
    thread.start()
    thread.join()
    assert found == [200]


def test_client_for_an_organization_that_is_not_there_is_refused(make_world: Callable[..., World]) -> None:
    world = make_world()
    for organization_id in ("nobody", "", "\x00", "o" * 3000):
        with pytest.raises(NotAllowed):
            world.orbro.client_for(organization_id, app=world.app)


@both_modes
def test_client_for_a_removed_organization_answers_403(
    make_world: Callable[..., World], testing: bool
) -> None:
    def other() -> Any:
        return world.orbro.client_for("removed").get(USERS_PATH).json()

    world = make_world(views={"/other": (user_required, other)}, TESTING=testing)
    assert is_problem(world.get("/other", world.platform.user_token("acme")), 403)


def test_the_open_api_client_shows_the_developers_own_token(
    make_world: Callable[..., World], settings: dict[str, Any]
) -> None:
    world = make_world(install=False)
    with world.app.app_context():
        response = world.orbro.open_api_client.get("/openapi/v1/users")
    assert (response.status_code, len(response.json()["data"])) == (200, 1)
    assert tokens_of(world, "/openapi/v1/users") == [settings["ORBRO_OPEN_API_TOKEN"]]


def test_the_open_api_client_names_the_setting_that_it_needs(make_world: Callable[..., World]) -> None:
    world = make_world(install=False, ORBRO_OPEN_API_TOKEN=None)
    with world.app.app_context(), pytest.raises(ConfigurationError, match="ORBRO_OPEN_API_TOKEN"):
        _ = world.orbro.open_api_client
