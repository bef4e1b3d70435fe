"""What is sent to a sidecar, and what its answers become."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from flask import Flask

from flask_orbro import ConfigurationError, NotAuthenticated, OrbroConnect, user_required
from flask_orbro.connections import DownstreamAnswer, DownstreamRefused, SidecarClient, SidecarRefused
from flask_orbro.errors import ConnectionRateLimited, ConnectionUnavailable, InvalidRequest
from flask_orbro.simulator import SimulatorServer

from ..conftest import bearer
from .scripted import Scripted, scripted_server

ENTRA_TOKEN = jwt.encode({"iss": "https://login.example/", "oid": "a-user"}, "k" * 32, algorithm="HS256")
HEADER = {"authorizationHeader": "Bearer a-token-for-graph"}


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def sidecar(server: Scripted) -> Iterator[SidecarClient]:
    client = SidecarClient(base_url=server.url)
    yield client
    client.close()


def result(status: Any = 200, content: Any = None, **headers: list[str]) -> dict[str, Any]:
    return {"statusCode": status, "headers": headers, "content": content}


def test_a_call_for_a_user(server: Scripted, sidecar: SidecarClient) -> None:
    server.answer(200, result(201, '{"id": "1"}', **{"Content-Type": ["application/json"]}))
    answer = sidecar.call(
        "graph",
        "me/sendMail",
        "post",
        json={"subject": "Grüße"},
        user_token=ENTRA_TOKEN,
        scopes=["Mail.Send", "User.Read"],
        tenant="a-tenant",
        request_app_token=True,
        agent_identity="an-agent",
        agent_username="agent@example.com",
        agent_user_id="an-id",
    )
    assert (answer.status, answer.headers, answer.json()) == (
        201,
        {"Content-Type": ["application/json"]},
        {"id": "1"},
    )
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/DownstreamApi/graph")
    assert asked.headers["Authorization"] == f"Bearer {ENTRA_TOKEN}"
    assert json.loads(asked.body) == {"subject": "Grüße"}
    assert sorted(asked.query) == [
        ("AgentIdentity", "an-agent"),
        ("AgentUserId", "an-id"),
        ("AgentUsername", "agent@example.com"),
        ("optionsOverride.AcquireTokenOptions.Tenant", "a-tenant"),
        ("optionsOverride.HttpMethod", "POST"),
        ("optionsOverride.RelativePath", "me/sendMail"),
        ("optionsOverride.RequestAppToken", "true"),
        ("optionsOverride.Scopes", "Mail.Send"),
        ("optionsOverride.Scopes", "User.Read"),
    ]


def test_a_call_for_the_app_itself(server: Scripted, sidecar: SidecarClient) -> None:
    server.answer(200, result())
    assert sidecar.call("graph/beta", "users?$top=5").content is None
    server._answers.clear()
    server.answer(200, HEADER)
    assert sidecar.authorization_header("graph", scopes="one two") == "Bearer a-token-for-graph"
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/DownstreamApiUnauthenticated/graph/beta"),
        ("GET", "/AuthorizationHeaderUnauthenticated/graph"),
    ]
    assert all("Authorization" not in asked.headers for asked in server.asked)
    assert server.asked[0].query == [
        ("optionsOverride.RelativePath", "users?$top=5"),
        ("optionsOverride.HttpMethod", "GET"),
    ]
    assert server.asked[1].query == [("optionsOverride.Scopes", "one"), ("optionsOverride.Scopes", "two")]


@pytest.mark.parametrize("token", ["", None, "two words", "line\nbreak"])
def test_no_token_of_a_user_never_becomes_the_app_s_own(
    server: Scripted, sidecar: SidecarClient, token: Any
) -> None:
    for ask in (sidecar.authorization_header, lambda *_, **more: sidecar.call("graph", "me", **more)):
        with pytest.raises(NotAuthenticated):
            ask("graph", user_token=token)
    assert server.asked == []


def test_a_token_of_the_platform_is_never_shown(
    server: Scripted, sidecar: SidecarClient, simulator: SimulatorServer
) -> None:
    with pytest.raises(NotAuthenticated, match="platform"):
        sidecar.call("graph", "me", user_token=simulator.platform.user_token("acme"))
    assert server.asked == []


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda sidecar: sidecar.call("graph", "me", user="somebody"), TypeError),
        (lambda sidecar: sidecar.call("", "me"), ValueError),
        (lambda sidecar: sidecar.call("..", "me"), ValueError),
        (lambda sidecar: sidecar.call("graph", "//attacker.example/me"), InvalidRequest),
        (lambda sidecar: sidecar.call("graph", "https://attacker.example/me"), InvalidRequest),
        (lambda sidecar: sidecar.call("graph", "me/../users"), InvalidRequest),
        (lambda sidecar: sidecar.call("graph", "me\r\nX: y"), InvalidRequest),
    ],
)
def test_a_mistake_of_the_caller_is_sent_nowhere(
    server: Scripted, sidecar: SidecarClient, ask: Callable[[SidecarClient], Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(sidecar)
    assert server.asked == []


@pytest.mark.parametrize("status", [403, "403"])
def test_a_service_that_refuses_is_a_typed_error_with_its_content(
    server: Scripted, sidecar: SidecarClient, status: Any
) -> None:
    server.answer(200, result(status, '{"error": {"code": "AccessDenied"}}'))
    with pytest.raises(DownstreamRefused) as caught:
        sidecar.call("graph", "me")
    assert (caught.value.status, caught.value.answer.json()["error"]["code"]) == (403, "AccessDenied")
    assert "AccessDenied" not in json.dumps(caught.value.data)


def test_a_service_that_fails_or_limits_is_told_apart(server: Scripted, sidecar: SidecarClient) -> None:
    server.answer(200, result(503, "down"))
    with pytest.raises(ConnectionUnavailable) as caught:
        sidecar.call("graph", "me")
    assert (caught.value.status, caught.value.answer) == (503, DownstreamAnswer(503, {}, "down"))
    server._answers.clear()
    server.answer(200, result(429, "slow down", **{"Retry-After": ["17"]}))
    with pytest.raises(ConnectionRateLimited) as limited:
        sidecar.call("graph", "me")
    assert (limited.value.retry_after, limited.value.answer.content) == (17, "slow down")
    server._answers.clear()
    server.answer(200, result(503, "down", **{"retry-after": ["9"]}))
    with pytest.raises(ConnectionUnavailable) as down:
        sidecar.call("graph", "me")
    assert down.value.retry_after == 9


def test_a_sidecar_that_refuses_or_fails_keeps_its_problem(server: Scripted, sidecar: SidecarClient) -> None:
    problem = {"title": "Bad Request", "status": 400, "detail": "No scopes found for the API 'graph'."}
    server.answer(400, problem, "application/problem+json")
    with pytest.raises(SidecarRefused) as caught:
        sidecar.call("graph", "me")
    assert (caught.value.status, caught.value.problem) == (400, problem)
    server._answers.clear()
    server.answer(401, b"", "text/plain")
    with pytest.raises(SidecarRefused) as bare:
        sidecar.authorization_header("graph")
    assert (bare.value.status, bare.value.problem) == (401, {})
    server._answers.clear()
    server.answer(500, problem, "application/problem+json")
    with pytest.raises(ConnectionUnavailable) as failed:
        sidecar.call("graph", "me")
    assert failed.value.answer.json() == problem


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        [],
        {},
        result("many"),
        result(None),
        result(200, {"not": "text"}),
        {"statusCode": 200, "headers": [], "content": None},
        {"statusCode": 200, "headers": "none", "content": None},
        {"statusCode": 429, "headers": {"Retry-After": "5"}, "content": None},
        {"statusCode": 429, "headers": {"Retry-After": [], "Ä": [None]}, "content": None},
    ],
)
def test_an_answer_that_breaks_the_contract_is_a_typed_error(
    server: Scripted, sidecar: SidecarClient, body: Any
) -> None:
    server.answer(200, body)
    with pytest.raises((ConnectionUnavailable, ConnectionRateLimited)):
        sidecar.call("graph", "me")
    with pytest.raises(ConnectionUnavailable):
        sidecar.authorization_header("graph")


def test_what_might_be_done_twice_is_not_sent_twice(server: Scripted, sidecar: SidecarClient) -> None:
    server.answer(503, **{"Retry-After": "0"})
    for method, times in (("GET", 3), ("PUT", 3), ("POST", 1), ("PATCH", 1)):
        before = len(server.asked)
        with pytest.raises(ConnectionUnavailable):
            sidecar.call("graph", "me", method)
        assert (method, len(server.asked) - before) == (method, times)


def test_no_token_is_in_a_log_or_a_repr(
    server: Scripted, sidecar: SidecarClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer(200, HEADER)
    header = sidecar.authorization_header("graph", user_token=ENTRA_TOKEN)
    server._answers.clear()
    server.answer(200, result(200, header, **{"X-Token": [header]}))
    answer = sidecar.call("graph", "me", user_token=ENTRA_TOKEN)
    shown = caplog.text + repr(answer) + repr(sidecar)
    assert ENTRA_TOKEN not in shown
    assert "a-token-for-graph" not in shown


def test_it_is_found_by_its_name_in_the_environment(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIDECAR_URL", raising=False)
    with pytest.raises(ConfigurationError, match="SIDECAR_URL"):
        SidecarClient()
    monkeypatch.setenv("SIDECAR_URL", f"{server.url}/")
    server.answer(200, HEADER)
    client = SidecarClient(timeout=5)
    assert client.authorization_header("graph") == "Bearer a-token-for-graph"
    assert server.asked[0].path == "/AuthorizationHeaderUnauthenticated/graph"
    client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "sidecar.localhost"])
def test_what_is_on_this_machine_goes_by_no_proxy(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.answer(200, HEADER)
    client = SidecarClient(base_url=server.url.replace("127.0.0.1", host))
    assert client.authorization_header("graph") == "Bearer a-token-for-graph"
    client.close()


@pytest.mark.parametrize("testing", [True, False])
def test_a_connection_forwards_the_caller_s_token_and_no_other(
    server: Scripted,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    origin: str,
    testing: bool,
) -> None:
    orbro = OrbroConnect()
    definition = {"kind": "entra-sidecar", "url": server.url, "auth": {"kind": "forward"}}
    app = make_app(orbro, TESTING=testing, ORBRO_CONNECTIONS={"sidecar": definition})
    server.answer(200, result(200, '{"displayName": "Ada"}'))

    @app.get("/profile")
    def profile() -> Any:
        return orbro.connections["sidecar"].call("graph", "me").json()

    @app.get("/async-profile")
    async def async_profile() -> Any:
        return (await orbro.async_connections["sidecar"].call("graph", "me")).json()

    @app.get("/mine")
    @user_required
    def mine() -> Any:
        return orbro.connections["sidecar"].call("graph", "me").json()

    assert simulator.platform.install(serving(app), "acme").ok
    client = app.test_client()
    for path in ("/profile", "/async-profile"):
        assert client.get(path, headers=bearer(ENTRA_TOKEN)).json == {"displayName": "Ada"}
    for asked in server.asked:
        assert (asked.path, asked.headers["Authorization"]) == (
            "/DownstreamApi/graph",
            f"Bearer {ENTRA_TOKEN}",
        )
    server.asked.clear()
    platform_token = bearer(simulator.platform.user_token("acme"))
    refused = [client.get(path) for path in ("/profile", "/async-profile")]
    refused += [client.get(path, headers=platform_token) for path in ("/profile", "/async-profile")]
    refused.append(client.get("/mine", query_string={"origin": origin}, headers=platform_token))
    assert [answer.status_code for answer in refused] == [401] * 5
    assert server.asked == []
    with app.app_context():
        connection = orbro.connections["sidecar"].with_token(ENTRA_TOKEN)
        assert connection.call("graph", "me").json() == {"displayName": "Ada"}
