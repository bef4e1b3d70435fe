"""Connections in views of an app: whose credential is shown, and what an unhandled error answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import jwt
import pytest
from flask import Flask, current_app

from flask_orbro import NoCallerError, NotAuthenticated, OrbroConnect, connect_required, user_required
from flask_orbro.connections import AsyncConnection, Connection
from flask_orbro.errors import ConfigurationError
from flask_orbro.simulator import SimulatorServer

from ..world import KINDS, USERS_PATH, World, is_problem
from .backend import Backend, running_backend

SECRET = "s3cret-of-the-views"
SECRETS = {"KEY": SECRET, "CLIENT_SECRET": SECRET}
#: A token of another authorization server: nothing in it is the platform's.
FOREIGN = jwt.encode({"iss": "https://login.example", "sub": "u", "aud": "api"}, "k" * 32, algorithm="HS256")
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["TESTING", "in earnest"])


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


@pytest.fixture
def make_world(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> Callable[..., World]:
    return partial(World, make_app, serving, simulator)


def definitions(backend: Backend) -> dict[str, Any]:
    return {
        "weather": {"url": backend.url, "retries": 0, "auth": {"kind": "bearer", "token": {"config": "KEY"}}},
        "notes": {
            "url": backend.url,
            "auth": {
                "kind": "oauth2_client_credentials",
                "token_url": backend.url + "/token",
                "client_id": "app",
                "client_secret": {"config": "CLIENT_SECRET"},
            },
        },
        "gone": {"url": "http://127.0.0.1:9", "retries": 0},
        "graph": {"url": backend.url, "auth": {"kind": "forward"}},
        "platform": {"auth": {"kind": "connect_app"}},
    }


def undecorated(view: Any) -> Any:
    """For everybody; flask-restx does not await a coroutine by itself."""

    @wraps(view)
    def awaited(*arguments: Any) -> Any:
        return current_app.ensure_sync(view)(*arguments)

    return awaited


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_an_unhandled_error_of_a_connection_answers_by_itself(
    make_world: Callable[..., World], backend: Backend, kind: str, testing: bool
) -> None:
    orbro = OrbroConnect()

    def calling(name: str, path: str) -> Callable[[], Any]:
        return lambda: orbro.connections[name].get(path).raise_for_status().json()

    cases = {
        "/ok": ("weather", "/hello", 200, None, False),
        "/refused": ("weather", "/status/409", 502, "connection_refused", False),
        "/failed": ("weather", "/status/500", 503, "connection_unavailable", True),
        "/limited": ("weather", "/status/429?Retry-After=9", 503, "connection_rate_limited", True),
        "/gone": ("gone", "/", 503, "connection_unavailable", True),
        "/misconfigured": ("notes", "/guarded", 502, "connection_misconfigured", False),
    }
    views = {path: (undecorated, calling(name, called)) for path, (name, called, *_) in cases.items()}
    world = make_world(
        orbro=orbro, kind=kind, TESTING=testing, install=False, views=views, **SECRETS,
        ORBRO_CONNECTIONS=definitions(backend),
    )  # fmt: skip
    for path, (_, _, status, code, retry) in cases.items():
        answer = world.client.get(path)
        assert answer.status_code == status
        assert ("Retry-After" in answer.headers) == retry
        assert "WWW-Authenticate" not in answer.headers
        assert SECRET not in answer.get_data(as_text=True) or path == "/ok"
        if code is not None:
            assert is_problem(answer, status)["code"] == code
    assert world.client.get("/limited").headers["Retry-After"] == "9"


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_the_caller_s_own_token_is_forwarded_and_no_other(
    make_world: Callable[..., World], backend: Backend, kind: str, testing: bool
) -> None:
    orbro = OrbroConnect()

    def graph() -> Any:
        return orbro.connections["graph"].get("/me").raise_for_status().json()

    views = {
        "/graph": (undecorated, graph),
        "/graph/user": (user_required, graph),
        "/graph/connect": (connect_required, graph),
        "/graph/optional": (user_required(optional=True), graph),
    }
    world = make_world(
        orbro=orbro, kind=kind, TESTING=testing, views=views, **SECRETS,
        JWT_SECRET_KEY="k" * 40, ORBRO_CONNECTIONS=definitions(backend),
    )  # fmt: skip
    own = jwt.encode({"sub": "ada"}, "k" * 40, algorithm="HS256")
    platform = world.platform
    assert world.get("/graph", FOREIGN).json["headers"]["Authorization"] == f"Bearer {FOREIGN}"
    backend.seen.clear()
    for path, token, code in [
        ("/graph", platform.user_token("acme"), "token_of_another_kind"),
        ("/graph", platform.connect_token("acme"), "token_of_another_kind"),
        ("/graph", platform.open_api_token(), "token_of_another_kind"),
        ("/graph", platform.webhook_token("acme", world.url), "token_of_another_kind"),
        ("/graph", own, "token_of_another_kind"),
        ("/graph", "opaque-token", "token_of_another_kind"),
        ("/graph", jwt.encode({"iss": ""}, "k" * 32), "token_of_another_kind"),
        ("/graph/user", platform.user_token("acme"), "token_of_another_kind"),
        ("/graph/connect", platform.connect_token("acme"), "token_of_another_kind"),
        ("/graph/optional", own, "token_of_another_kind"),
        ("/graph", None, "token_missing"),
    ]:
        assert is_problem(world.get(path, token), 401)["code"] == code, path
    malformed = world.client.get("/graph", headers={"Authorization": "Basic YTpi"})
    assert is_problem(malformed, 401)["code"] == "token_malformed"
    assert backend.seen == []


def test_which_tokens_are_forwarded_the_definition_says(
    make_world: Callable[..., World], backend: Backend
) -> None:
    orbro = OrbroConnect()
    own = "open-api-token-without-a-dot"
    auths: dict[str, Any] = {
        "opaque": {"kind": "forward", "opaque": True},
        "issuers": {"kind": "forward", "issuers": ["https://login.example"]},
        "others": {"kind": "forward", "issuers": ["https://login.example/", "https://other.example"]},
    }
    views = {
        f"/{name}": (undecorated, lambda name=name: orbro.connections[name].get("/me").json())
        for name in auths
    }
    world = make_world(
        orbro=orbro, views=views, ORBRO_OPEN_API_TOKEN=own,
        ORBRO_CONNECTIONS={name: {"url": backend.url, "auth": auth} for name, auth in auths.items()},
    )  # fmt: skip
    for path, token, forwarded in [
        ("/opaque", "opaque-token", True),
        ("/opaque", FOREIGN, True),
        ("/opaque", own, False),
        ("/opaque", world.platform.open_api_token(), False),
        ("/issuers", FOREIGN, True),
        ("/issuers", "opaque-token", False),
        ("/others", FOREIGN, False),
    ]:
        answer = world.get(path, token)
        assert answer.status_code == (200 if forwarded else 401), (path, token)
        with world.app.app_context():
            if token != own:
                assert admits(orbro.connections[path[1:]], token) == forwarded
    assert len(backend.paths("/me")) == 3


def admits(connection: Connection, token: str) -> bool:
    try:
        connection.with_token(token)
    except NotAuthenticated:
        return False
    return True


def test_a_token_that_let_its_bearer_in_is_never_forwarded_whatever_it_looks_like(
    make_world: Callable[..., World], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_orbro.connections.forwarding.is_platform_token", lambda token: False)
    orbro = OrbroConnect()
    graph = (user_required, lambda: orbro.connections["graph"].get("/me").json())
    world = make_world(
        orbro=orbro, views={"/graph": graph}, **SECRETS, ORBRO_CONNECTIONS=definitions(backend)
    )
    refused = is_problem(world.get("/graph", world.platform.user_token("acme")), 401)
    assert refused["code"] == "token_of_another_kind"
    assert backend.seen == []


def test_a_token_is_given_where_there_is_no_request(
    make_world: Callable[..., World], backend: Backend
) -> None:
    orbro = OrbroConnect()
    world = make_world(orbro=orbro, **SECRETS, ORBRO_CONNECTIONS=definitions(backend))
    with world.app.app_context():
        graph = orbro.connections["graph"]
        with pytest.raises(NoCallerError, match="with_token"):
            graph.get("/me")
        sent = graph.with_token(FOREIGN).get("/me").json()["headers"]
        assert sent["Authorization"] == f"Bearer {FOREIGN}"
        for token in (world.platform.user_token("acme"), "", "a b", "a\r\nX: b"):
            with pytest.raises(NotAuthenticated):
                graph.with_token(token)
        with pytest.raises(ConfigurationError, match="'weather' forwards no token"):
            orbro.connections["weather"].with_token(FOREIGN)
    alone = Connection("graph", {"url": backend.url, "auth": {"kind": "forward"}})
    with pytest.raises(NoCallerError, match="with_token"):
        alone.get("/me")
    assert alone.with_token(FOREIGN).get("/me").status_code == 200


@pytest.mark.parametrize("kind", ["view", "async view"])
def test_the_platform_is_one_connection_among_others(
    make_world: Callable[..., World], backend: Backend, kind: str
) -> None:
    orbro = OrbroConnect()
    given = definitions(backend)
    views = {
        "/members": (user_required, lambda: orbro.connections["platform"].get(USERS_PATH).json()),
        "/stranger": (undecorated, lambda: orbro.connections["platform"].get(USERS_PATH).json()),
        "/acme": (undecorated, lambda: orbro.connections["acme"].get(USERS_PATH).json()),
    }
    organization_id = "of-acme"
    given["acme"] = {"auth": {"kind": "connect_app", "organization_id": {"config": "ACME"}}}
    world = make_world(orbro=orbro, kind=kind, views=views, **SECRETS, ACME=organization_id, TESTING=False,
                       ORBRO_CONNECTIONS=given)  # fmt: skip
    answer = world.get("/members", world.platform.user_token("acme"))
    assert [user["email"] for user in answer.json["data"]] == ["admin@acme.example"]
    assert world.client.get("/stranger").status_code == 500
    assert is_problem(world.client.get("/acme"), 403)["code"] == "unknown_organization"


def test_async_views_share_tokens_with_sync_ones(make_app: Callable[..., Flask], backend: Backend) -> None:
    orbro = OrbroConnect()
    app = make_app(
        orbro, **SECRETS | {"CLIENT_SECRET": backend.secret}, ORBRO_CONNECTIONS=definitions(backend)
    )

    @app.get("/sync")
    def sync_view() -> Any:
        return orbro.connections["notes"].get("/guarded").json()

    @app.get("/async")
    async def async_view() -> Any:
        return (await orbro.async_connections["notes"].get("/guarded")).json()

    for path in ("/async", "/sync", "/async"):
        assert app.test_client().get(path).json == {"ok": True}
    assert len(backend.tokens) == 1


def test_two_apps_share_no_token(make_app: Callable[..., Flask], backend: Backend) -> None:
    for _ in range(2):
        orbro = OrbroConnect()
        app = make_app(
            orbro, **SECRETS | {"CLIENT_SECRET": backend.secret}, ORBRO_CONNECTIONS=definitions(backend)
        )
        with app.app_context():
            assert orbro.connections["notes"].get("/guarded").status_code == 200
    assert len(backend.tokens) == 2


def test_calls_are_counted_by_connection(make_app: Callable[..., Flask], backend: Backend) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro, **SECRETS, ORBRO_METRICS=True, ORBRO_CONNECTIONS=definitions(backend))
    with app.app_context():
        for path in ("/a", "/status/404", "/status/404"):
            orbro.connections["weather"].get(path)
        counted = orbro.metrics_registry.get_sample_value
        for outcome, times in (("2xx", 1), ("4xx", 2)):
            labels = {"connection": "weather", "method": "GET", "outcome": outcome}
            assert counted("orbro_connection_seconds_count", labels) == times


def test_only_an_app_has_the_platform_as_a_connection() -> None:
    for form in (Connection, AsyncConnection):
        with pytest.raises(ConfigurationError, match="which only an app can call"):
            form("platform", {"auth": {"kind": "connect_app"}})
