"""The stand-ins for other back ends: they take their own credentials, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.backends import API_KEY, CLIENT_ID, CLIENT_SECRET

Ask = Callable[..., httpx2.Response]
GRAPH = "/sidecar/DownstreamApi/graph"


@pytest.fixture
def ask(server: SimulatorServer) -> Iterator[Ask]:
    with httpx2.Client(base_url=f"{server.url}/backends", trust_env=False) as client:
        yield client.request


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token(ask: Ask, **fields: str) -> httpx2.Response:
    fields = {"grant_type": "client_credentials"} | fields
    return ask("POST", "/oauth/token", data=fields, auth=(CLIENT_ID, CLIENT_SECRET))


@pytest.fixture
def entra(control: Callable[..., httpx2.Response]) -> str:
    fields = {"kind": "entra", "organization": "acme"}
    return str(control("POST", "/simulator/tokens", **fields).json()["token"])


def test_weather_wants_its_key_in_the_query(ask: Ask) -> None:
    assert ask("GET", "/weather", params={"city": "Seoul"}).status_code == 401
    assert ask("GET", "/weather", params={"city": "Seoul", "key": "guessed"}).status_code == 401
    assert ask("GET", "/weather", params={"city": "Nowhere", "key": API_KEY}).status_code == 404
    answer = ask("GET", "/weather", params={"city": " seoul", "key": API_KEY})
    assert answer.json() == {"city": "Seoul", "temperature": 21.5, "unit": "C", "sky": "clear"}


def test_tokens_are_for_the_right_client_by_header_or_body(ask: Ask) -> None:
    answer = token(ask, scope="notes").json()
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "notes")
    body = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert ask("POST", "/oauth/token", data=body).json()["scope"] == "notes patients"
    wrong: list[dict[str, Any]] = [
        {"data": body | {"client_secret": "guessed"}},
        {"data": {"grant_type": "client_credentials"}},
        {"data": body, "headers": {"Authorization": "Basic nonsense"}},
    ]
    for options in wrong:
        refused = ask("POST", "/oauth/token", **options)
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_client"})
    assert token(ask, grant_type="password").json() == {"error": "unsupported_grant_type"}
    assert token(ask, scope="everything").json() == {"error": "invalid_scope"}


def test_notes_are_kept_for_tokens_with_their_scope(ask: Ask) -> None:
    headers = bearer(token(ask, scope="notes").json()["access_token"])
    written = ask("POST", "/notes", json={"text": "remember"}, headers=headers)
    assert written.status_code == 201
    assert ask("GET", f"/notes/{written.json()['id']}", headers=headers).json() == written.json()
    assert ask("GET", "/notes", headers=headers).json() == {"data": [written.json()]}
    assert ask("GET", "/notes/other", headers=headers).status_code == 404
    assert ask("POST", "/notes", json={"text": 5}, headers=headers).status_code == 400
    other = bearer(token(ask, scope="patients").json()["access_token"])
    assert ask("GET", "/notes", headers=other).status_code == 403
    assert ask("GET", "/notes").status_code == 401


def test_tokens_expire_by_the_platform_s_clock(server: SimulatorServer, ask: Ask) -> None:
    headers = bearer(token(ask, scope="notes").json()["access_token"])
    now = server.platform.clock()
    server.platform.clock = lambda: now + 301
    assert ask("GET", "/notes", headers=headers).status_code == 401


def test_patients_are_read_as_fhir(ask: Ask) -> None:
    headers = bearer(token(ask, scope="patients").json()["access_token"])
    answer = ask("GET", "/fhir/Patient/example-1", headers=headers)
    assert (answer.headers["Content-Type"], answer.headers["ETag"]) == ("application/fhir+json", 'W/"1"')
    assert answer.json()["name"][0]["family"] == "Example"
    assert ask("GET", "/fhir/metadata").json()["resourceType"] == "CapabilityStatement"
    for path, status, options in (
        ("/fhir/Patient/nobody", 404, {"headers": headers}),
        ("/fhir/Device/example-1", 404, {"headers": headers}),
        ("/fhir/Patient/example-1", 401, {}),
        (
            "/fhir/Patient/example-1",
            403,
            {"headers": bearer(token(ask, scope="notes").json()["access_token"])},
        ),
    ):
        refused = ask("GET", path, **options)
        assert (refused.status_code, refused.json()["resourceType"]) == (status, "OperationOutcome")


def test_the_sidecar_acts_for_the_user_of_an_entra_token(ask: Ask, entra: str) -> None:
    def graph(path: str, method: str = "GET", **options: Any) -> dict[str, Any]:
        override = {"optionsOverride.RelativePath": path, "optionsOverride.HttpMethod": method}
        answer: dict[str, Any] = ask("POST", GRAPH, params=override, headers=bearer(entra), **options).json()
        return answer

    assert json.loads(graph("me")["content"])["mail"] == "admin@acme.example"
    assert json.loads(graph("/me/messages?$top=1")["content"])["value"][0]["subject"] == "Welcome"
    sent = graph("me/sendMail", "POST", json={"message": {"subject": "Hello"}})
    assert sent == {"statusCode": 202, "headers": {}, "content": None}
    assert graph("me/sendMail", "POST", json={})["statusCode"] == 400
    assert graph("groups")["statusCode"] == 404
    header = ask("GET", "/sidecar/AuthorizationHeader/graph", headers=bearer(entra)).json()
    assert header["authorizationHeader"].startswith("Bearer ")
    assert ask("GET", "/sidecar/healthz").status_code == 200


def test_the_sidecar_takes_no_other_token(server: SimulatorServer, ask: Ask, entra: str) -> None:
    others = [server.platform.user_token("acme"), token(ask).json()["access_token"], "x", entra + "x"]
    for options in ({}, *({"headers": bearer(other)} for other in others)):
        refused = ask("POST", GRAPH, **options)
        assert (refused.status_code, refused.headers["Content-Type"]) == (401, "application/problem+json")
    assert ask("POST", "/sidecar/DownstreamApi/other", headers=bearer(entra)).status_code == 400


def test_an_entra_token_opens_nothing_of_the_platform(server: SimulatorServer, entra: str) -> None:
    origin = f"http://acme.{server.platform_host}"
    with httpx2.Client(trust_env=False) as client:
        for path in ("/api/v1/auth", "/api/v1/connect-auth/token", "/api/v1/users"):
            url = origin.replace(f"acme.{server.base_name}", "127.0.0.1") + path
            headers = bearer(entra) | {"Host": f"acme.{server.platform_host}"}
            assert client.get(url, headers=headers).status_code == 401


def test_stand_ins_are_on_loopback_names_alone_and_have_faults_too(server: SimulatorServer, ask: Ask) -> None:
    weather = {"city": "Seoul", "key": API_KEY}
    for host in (f"acme.{server.platform_host}", server.platform_host, "elsewhere.example"):
        assert ask("GET", "/weather", params=weather, headers={"Host": host}).status_code == 404
    server.platform.faults.set("/backends/weather", status=503)
    assert ask("GET", "/weather", params=weather).status_code == 503
    assert all(API_KEY not in repr(record) for record in server.platform.requests)
