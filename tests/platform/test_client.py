"""Calling the platform: what is sent, over which connection, and never to anybody else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from flask import Flask, request

from flask_orbro import PlatformInvalidResponse, PlatformUnavailable

from ..conftest import CLIENT_ID, serve
from ..world import USERS_PATH
from .conftest import MakeCaller, MakeWorld, client_of, tokens_of


def test_every_method_reaches_the_platform(make_world: MakeWorld) -> None:
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
    assert client.request("get", one).status_code == 404
    sent = {record.method for record in world.platform.requests if record.path.startswith(USERS_PATH)}
    assert sent == {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def test_data_is_sent_as_json_as_the_old_sdk_did(make_caller: MakeCaller) -> None:
    call = make_caller()
    kinds: list[str] = []
    call.world.watch(lambda sent: kinds.append(sent.get("CONTENT_TYPE", "")))
    made = call("POST", data={"email": "é@acme.example"})
    assert (made.status_code, made.json()["email"]) == (201, "é@acme.example")
    assert call("POST", data=["no", "object"]).status_code == 400
    assert kinds == ["application/json"] * 2


def test_data_may_stand_second_as_in_the_old_sdk(make_world: MakeWorld) -> None:
    client = client_of(make_world())
    made = client.post(USERS_PATH, {"email": "a@acme.example"}).json()
    assert client.patch(f"{USERS_PATH}/{made['id']}", {"name": "A"}).json()["name"] == "A"
    assert client.put(f"{USERS_PATH}/{made['id']}", {"email": "b@acme.example"}).status_code == 200


def test_files_and_the_fields_beside_them_are_a_form(make_caller: MakeCaller) -> None:
    call = make_caller()
    sent: list[tuple[str, bytes]] = []
    call.world.watch(lambda environ: sent.append((environ["CONTENT_TYPE"], environ["wsgi.input"].read())))
    call("POST", data={"title": "a plan"}, files={"plan": ("plan.txt", b"walls", "text/plain")})
    kind, body = sent[0]
    assert kind.startswith("multipart/form-data")
    assert b'name="title"\r\n\r\na plan' in body
    assert b'filename="plan.txt"' in body
    assert b"walls" in body


def test_parameters_and_headers_are_sent(make_caller: MakeCaller) -> None:
    call = make_caller()
    sent: list[tuple[str, str]] = []
    call.world.watch(lambda environ: sent.append((environ["QUERY_STRING"], environ.get("HTTP_X_TRACE", ""))))
    assert call(path=USERS_PATH + "?a=1", params={"b": "é&"}, headers={"X-Trace": "t-1"}).status_code == 200
    assert call("GET", headers=[("X-Trace", "t-2")]).status_code == 200
    for nothing in ({}, [], (), "", b"", None):
        assert call(path=USERS_PATH + "?a=1", params=nothing, headers={"X-Trace": "t-3"}).status_code == 200
    assert sent == [("a=1&b=%C3%A9%26", "t-1"), ("", "t-2"), *[("a=1", "t-3")] * 6]


def test_a_call_says_who_it_is_from(make_caller: MakeCaller) -> None:
    call = make_caller()
    agents: list[str] = []
    call.world.watch(lambda sent: agents.append(sent["HTTP_USER_AGENT"]))
    call()
    row = call.world.stored()
    assert row is not None
    claims = jwt.decode(tokens_of(call.world)[0], row.shared_secret or "", algorithms=["HS256"])
    assert claims["iss"] == CLIENT_ID
    assert claims["sub"] == f"uuid:{row.installed_user_id}"
    assert claims["issued_by"] == "meta-platform-connect"
    assert claims["exp"] - claims["iat"] == 1800
    assert agents == ["meta-platform-connect"]


def test_connections_are_pooled(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_path_that_only_looks_odd_stays_at_the_platform(make_world: MakeWorld) -> None:
    world = make_world()
    for path in ("/@evil.example", "/...//evil.example", "/a/http://evil.example", "/a?b=//c", "/%2f%2fevil"):
        assert client_of(world).get(path).url.host == "acme.orbro.localhost"


def test_a_redirect_is_not_followed_with_the_credential(make_caller: MakeCaller) -> None:
    call = make_caller()
    shown: list[str | None] = []
    stranger = Flask("stranger")
    stranger.before_request(lambda: shown.append(request.headers.get("Authorization")) or {})
    with serve(stranger) as url:
        for status in (301, 302, 303, 307, 308):
            call.world.platform.faults.set(USERS_PATH, status=status, redirect=url)
            response = call("POST", json={})
            assert (response.status_code, response.headers["Location"]) == (status, url)
            with pytest.raises(PlatformInvalidResponse, match="not followed") as raised:
                response.raise_for_status()
            assert url not in str(raised.value)
    assert shown == []


def test_a_cookie_of_one_organization_is_not_shown_for_another(make_world: MakeWorld) -> None:
    world = make_world()
    world.install("other")
    cookies: list[str] = []
    world.watch(lambda sent: cookies.append(sent.get("HTTP_COOKIE", "")))
    wide = {"Set-Cookie": "a=b; Domain=orbro.localhost; Path=/"}
    world.platform.faults.set(USERS_PATH, status=200, body={}, headers=wide)
    for name in ("acme", "other", "acme"):
        client_of(world, name).get(USERS_PATH)
    assert cookies == ["", "", ""]


def test_calls_and_tokens_are_counted(make_caller: MakeCaller) -> None:
    call = make_caller(ORBRO_METRICS=True, ORBRO_REQUEST_TIMEOUT=0.2, ORBRO_CALL_ATTEMPTS=1)
    call()
    call.world.platform.faults.set(USERS_PATH, status=500, times=1)
    call()
    call.world.platform.faults.set(USERS_PATH, drop=True)
    with pytest.raises(PlatformUnavailable):
        call()
    with call.world.app.app_context():
        sample = call.world.orbro.metrics_registry.get_sample_value
    for outcome in ("2xx", "5xx", "failed"):
        assert sample("orbro_call_seconds_count", {"method": "GET", "outcome": outcome}) == 1
    assert sample("orbro_tokens_total") == 1
