"""Other back ends by named connections, over real HTTP: whom they serve, and what their failures become."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from flask import Flask

from example_app.backends import views
from example_app.config import Development
from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.backends import API_KEY, CLIENT_ID, CLIENT_SECRET, entra_token
from flask_orbro.state import get_state

from ..conftest import CLIENT_ID as APP_ID
from ..conftest import bearer

NOTE = {"text": "Call the clinic."}
MESSAGE = {"to": "ada@example.com", "subject": "Hello", "text": "How are you?"}
#: Routes by their credential: method, path, a right body, and the status of a success.
OF_USERS: list[tuple[str, str, Any, int]] = [
    ("GET", "/weather", None, 200),
    ("POST", "/notes", NOTE, 201),
    ("GET", "/patients/example-1", None, 200),
    ("GET", "/summary", None, 200),
]
OF_ENTRA: list[tuple[str, str, Any, int]] = [
    ("GET", "/graph/profile", None, 200),
    ("GET", "/graph/messages", None, 200),
    ("POST", "/graph/messages/send", MESSAGE, 202),
]


def stand_ins(simulator: SimulatorServer) -> dict[str, str]:
    url = f"{simulator.url}/backends"
    return {
        "WEATHER_URL": url,
        "NOTES_URL": url,
        "EHR_URL": f"{url}/fhir",
        "OAUTH_TOKEN_URL": f"{url}/oauth/token",
        "SIDECAR_URL": f"{url}/sidecar",
    }


class World:
    """The example app over HTTP, installed for ``acme``, with the simulator's stand-ins."""

    def __init__(self, app: Flask, url: str, simulator: SimulatorServer, origin: str) -> None:
        self.app, self.platform = app, simulator.platform
        self._origin = origin
        self._http = httpx2.Client(base_url=url, trust_env=False, timeout=20)
        assert self.platform.install(url, "acme", client_id=APP_ID).ok
        self.user = self.platform.user_token("acme")
        self.entra = entra_token(self.platform, "acme")

    def ask(
        self, method: str, path: str, token: str | None = None, json: Any = None, **options: Any
    ) -> httpx2.Response:
        params = {"origin": self._origin} | options.pop("params", {})
        headers = ({} if token is None else bearer(token)) | options.pop("headers", {})
        if json is not None:
            options["json"] = json
        return self._http.request(method, path, params=params, headers=headers, **options)

    def asked(self) -> list[str]:
        """Paths of the stand-ins that were asked."""
        return [row.path for row in self.platform.requests if row.path.startswith("/backends")]

    def close(self) -> None:
        self._http.close()


@pytest.fixture(params=[True, False], ids=["testing", "serving"])
def world(
    request: pytest.FixtureRequest,
    make_example: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    origin: str,
) -> Iterator[World]:
    app = make_example(TESTING=request.param, **stand_ins(simulator))
    world = World(app, serving(app), simulator, origin)
    yield world
    world.close()


def assert_problem(answer: httpx2.Response, status: int, code: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert code is None or answer.json()["code"] == code
    for secret in (API_KEY, CLIENT_SECRET):
        assert secret not in answer.text


def test_users_of_the_platform_are_served(world: World) -> None:
    for method, path, body, status in OF_USERS:
        answer = world.ask(method, path, world.user, json=body)
        assert (path, answer.status_code) == (path, status), answer.text
    weather = world.ask("GET", "/weather", world.user, params={"city": "Berlin"}).json()
    assert weather == {"city": "Berlin", "temperature": 14.0, "unit": "C", "sky": "rain"}
    note = world.ask("POST", "/notes", world.user, json=NOTE).json()
    assert note == {"id": note["id"], "text": NOTE["text"]}
    assert note in world.platform.notes
    patient = world.ask("GET", "/patients/example-2", world.user).json()
    assert (patient["resourceType"], patient["name"][0]["given"]) == ("Patient", ["Min-jun"])


def test_nobody_else_is_and_no_back_end_is_asked(world: World) -> None:
    others = {
        "nobody": None,
        "Entra": world.entra,
        "connect-app": world.platform.connect_token("acme"),
        "Open API": world.platform.open_api_token(),
        "webhook": world.platform.webhook_token("acme"),
        "nonsense": "x.y.z",
    }
    for method, path, body, _ in OF_USERS:
        for name, token in others.items():
            answer = world.ask(method, path, token, json=body)
            assert (name, path, answer.status_code) == (name, path, 401)
            assert "WWW-Authenticate" in answer.headers
    assert world.asked() == []


def test_graph_serves_the_holder_of_an_entra_token_as_themselves(world: World) -> None:
    for method, path, body, status in OF_ENTRA:
        answer = world.ask(method, path, world.entra, json=body)
        assert (path, answer.status_code) == (path, status), answer.text
    other = {"id": "u-2", "uuid": "u-2", "email": "min@acme.example", "name": "Min"}
    world.platform.organization("acme").users["u-2"] = other
    profile = world.ask("GET", "/graph/profile", entra_token(world.platform, "acme", "min@acme.example"))
    assert profile.json()["mail"] == "min@acme.example"


def test_graph_serves_nobody_else_and_never_shows_a_token_of_the_platform(world: World) -> None:
    for method, path, body, _ in OF_ENTRA:
        for token in (None, world.user, world.platform.connect_token("acme"), "two words"):
            assert_problem(world.ask(method, path, token, json=body), 401)
    assert world.asked() == []
    expired = entra_token(world.platform, "acme", expires_in=-1)
    for method, path, body, _ in OF_ENTRA:
        assert_problem(world.ask(method, path, expired, json=body), 401, "token_invalid")


@pytest.mark.parametrize("city", ["Nowhere", "서울/../x", "Seoul&key=guessed"])
def test_a_city_without_weather_is_not_found(world: World, city: str) -> None:
    assert_problem(world.ask("GET", "/weather", world.user, params={"city": city}), 404)


@pytest.mark.parametrize("city", ["", "x" * 5000, "\0"])
def test_what_cannot_be_a_city_is_told_so(world: World, city: str) -> None:
    answer = world.ask("GET", "/weather", world.user, params={"city": city})
    assert_problem(answer, 400)
    assert list(answer.json()["errors"]) == ["city"]


@pytest.mark.parametrize(
    ("patient_id", "status"),
    [("nobody", 404), ("a" * 65, 400), ("_history", 400), ("..", 404), ("%2e%2e", 400), ("a%3Fb", 400)],
)
def test_a_patient_who_is_not_there_is_not_found(world: World, patient_id: str, status: int) -> None:
    assert_problem(world.ask("GET", f"/patients/{patient_id}", world.user), status)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"text": ""}', "application/json", 400),
        (b'{"text": 5, "to": 5}', "application/json", 400),
        (b'{"text": "\\ud800", "to": "a@b.example", "subject": "s"}', "application/json", 400),
        (b'{"text": "x", "id": "mine", "to": "nobody"}', "application/json", 400),
        (b"[" * 90_000, "application/json", 400),
        (b'"' + b"x" * 2_000_000 + b'"', "application/json", 413),
        (json.dumps(NOTE | MESSAGE).encode(), "text/plain", 415),
    ],
)
def test_nothing_is_made_of_a_bad_body(world: World, content: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind}
    for path, token in (("/notes", world.user), ("/graph/messages/send", world.entra)):
        assert_problem(world.ask("POST", path, token, content=content, headers=headers), status)
        assert_problem(world.ask("POST", path, None, content=content, headers=headers), 401)
    assert len(world.platform.notes) == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 403}, 502, None),
        ({"status": 500}, 503, None),
        ({"status": 429, "headers": {"Retry-After": "7"}}, 503, "connection_rate_limited"),
        ({"status": 200, "body": "<html>"}, 503, "connection_unavailable"),
        ({"drop": True}, 503, "connection_unavailable"),
    ],
)
def test_a_fault_of_a_back_end_is_a_problem_and_never_a_500(
    world: World, fault: dict[str, Any], status: int, code: str | None
) -> None:
    for prefix in ("/backends/weather", "/backends/notes", "/backends/fhir", "/backends/sidecar"):
        world.platform.faults.set(prefix, **fault)
    for method, path, body, _ in (*OF_USERS[:3], *OF_ENTRA):
        token = world.user if (method, path, body, _) in OF_USERS else world.entra
        answer = world.ask(method, path, token, json=body)
        assert_problem(answer, status, code)
        if status == 503:
            assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(("told", "status"), [(401, 401), (403, 403), (404, 404), (409, 502), (500, 503)])
def test_what_graph_refuses_the_user_is_told_to_the_user(world: World, told: int, status: int) -> None:
    body = json.dumps({"statusCode": told, "headers": {}, "content": "secret words"})
    world.platform.faults.set("/backends/sidecar", status=200, body=body)
    for method, path, sent, _ in OF_ENTRA:
        answer = world.ask(method, path, world.entra, json=sent)
        assert_problem(answer, status)
        assert "secret words" not in answer.text


def test_a_wrong_client_secret_is_named_and_asked_once(
    make_example: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    origin: str,
) -> None:
    app = make_example(**stand_ins(simulator), OAUTH_CLIENT_SECRET="not-the-secret-of-the-stand-ins")
    world = World(app, serving(app), simulator, origin)
    for _ in range(5):
        answer = world.ask("POST", "/notes", world.user, json=NOTE)
        assert_problem(answer, 502, "connection_misconfigured")
        assert "'notes'" in answer.json()["detail"]
    assert world.asked() == ["/backends/oauth/token"]
    world.close()


def test_the_summary_is_whole_or_tells_what_is_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = world.ask("GET", "/summary", world.user).json()
    assert set(whole["results"]) == {"weather", "patient", "notes"}
    assert whole["errors"] == {}
    monkeypatch.setattr(views, "PATIENCE", 1.0)
    world.platform.faults.set("/backends/weather", status=503)
    world.platform.faults.set("/backends/notes", delay=60)
    answer = world.ask("GET", "/summary", world.user, params={"patient": "nobody"})
    assert answer.status_code == 200
    assert answer.json() == {
        "results": {},
        "errors": {
            "weather": "connection_unavailable",
            "patient": "fhir_refused",
            "notes": "connection_unavailable",
        },
    }


def test_the_definitions_hold_no_secret_and_the_settings_are_the_stand_ins() -> None:
    definitions = json.dumps(Development.ORBRO_CONNECTIONS)
    settings = (Development.WEATHER_KEY, Development.OAUTH_CLIENT_ID, Development.OAUTH_CLIENT_SECRET)
    assert settings == (API_KEY, CLIENT_ID, CLIENT_SECRET)
    assert not any(setting in definitions for setting in settings)


def test_without_connections_the_routes_are_not_there(make_example: Callable[..., Flask]) -> None:
    app = make_example(ORBRO_ENV="prod", ORBRO_PLATFORM_SCHEME="https", ORBRO_PLATFORM_HOST=None)
    assert list(get_state(app).connections.definitions) == []
    for path in ("/weather", "/graph/profile"):
        assert app.test_client().get(path).status_code == 404
    paths = app.test_client().get("/swagger.json").json
    assert paths is not None
    assert "/weather" not in paths["paths"]
