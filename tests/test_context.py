"""The proxies and ``orbro.client``: typed, helpful when read too early, and never another caller's."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from flask_orbro import (
    ConnectAppIdentity,
    Delivery,
    NoCallerError,
    NotAllowed,
    NotInitializedError,
    OpenApiIdentity,
    OrbroConnect,
    OrganizationInfo,
    UserIdentity,
    authenticate_user,
    connect_required,
    current_delivery,
    current_identity,
    current_organization,
    open_api_required,
    user_required,
    webhook_required,
)
from flask_orbro.context import Caller, get_caller
from flask_orbro.state import get_state

from .conftest import CLIENT_SECRET
from .world import KINDS, USERS_PATH, World, is_problem, who

PROXIES: dict[str, Any] = {
    "identity": current_identity,
    "organization": current_organization,
    "delivery": current_delivery,
}


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_a_proxy_read_too_early_says_what_to_do(make_app: Callable[..., Flask], proxy: Any) -> None:
    app = make_app()
    for context in (app.app_context(), app.test_request_context("/?origin=http://acme.example")):
        with context, pytest.raises(NoCallerError, match=r"@user_required.*client_for"):
            _ = proxy.organization_id
    with pytest.raises(NoCallerError):
        bool(proxy.organization_id)


def test_a_refused_caller_is_not_the_current_one(make_world: Callable[..., World]) -> None:
    found: list[Any] = []

    def body() -> Any:
        with pytest.raises(NotAllowed):
            authenticate_user(role="Boss")
        with pytest.raises(NoCallerError):
            get_caller()
        found.append(True)
        return {}

    world = make_world(views={"/view": (lambda view: view, body)})
    world.get("/view", world.platform.user_token("acme"))
    assert found == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_the_proxies_have_the_types_they_promise(make_world: Callable[..., World], kind: str) -> None:
    def types() -> Any:
        caller = get_caller()
        found = (caller.identity, caller.organization, caller.delivery)
        assert isinstance(caller, Caller)
        return {"types": [type(item).__name__ for item in found]}

    views = {
        "/u": (user_required, types),
        "/c": (connect_required, types),
        "/o": (open_api_required, types),
        "/webhook/w": (webhook_required, types),
        "/n": (user_required(optional=True), types),
    }
    world = make_world(kind=kind, views=views)
    platform = world.platform
    told = {
        "/u": world.get("/u", platform.user_token("acme")).json,
        "/c": world.get("/c", platform.connect_token("acme")).json,
        "/o": world.get("/o", platform.open_api_token()).json,
        "/webhook/w": platform.webhook("acme", "device:device_updated", path="/webhook/w").body,
        "/n": world.get("/n").json,
    }
    none, organization = "NoneType", OrganizationInfo.__name__
    assert {path: answer["types"] for path, answer in told.items()} == {
        "/u": [UserIdentity.__name__, organization, none],
        "/c": [ConnectAppIdentity.__name__, organization, none],
        "/o": [OpenApiIdentity.__name__, none, none],
        "/webhook/w": [none, organization, Delivery.__name__],
        "/n": [none, none, none],
    }


def test_the_client_acts_for_the_callers_organization_alone(make_world: Callable[..., World]) -> None:
    def origin() -> Any:
        return {"origin": world.orbro.client.origin}

    views = {"/u": (user_required, origin), "/c": (connect_required, origin)}
    world = make_world(views=views | {"/webhook/w": (webhook_required, origin)})
    world.install("other")
    for name in ("acme", "other"):
        expected = {"origin": world.origin(name)}
        assert world.get("/u", world.platform.user_token(name), origin=world.origin(name)).json == expected
        assert world.get("/c", world.platform.connect_token(name), origin=world.origin(name)).json == expected
    # A delivery's organization is its token's; what the URL names is nothing.
    path = f"/webhook/w?origin={world.origin('other')}"
    assert world.platform.webhook("acme", "device:device_updated", path=path).body == {
        "origin": world.origin("acme")
    }


@pytest.mark.parametrize("testing", [True, False])
def test_a_caller_without_an_organization_has_no_client(
    make_world: Callable[..., World], testing: bool
) -> None:
    def body() -> Any:
        with pytest.raises(NoCallerError, match="open_api_client"):
            _ = world.orbro.client
        return {"ok": True}

    views = {"/o": (open_api_required, body), "/n": (user_required(optional=True), body)}
    world = make_world(views=views, TESTING=testing)
    assert world.get("/o", world.platform.open_api_token()).json == {"ok": True}
    assert world.get("/n").json == {"ok": True}


def test_the_extension_explains_itself_where_it_was_not_initialised() -> None:
    app, orbro = Flask("bare"), OrbroConnect()
    with pytest.raises(NotInitializedError, match="app context"):
        get_state()
    with app.app_context(), pytest.raises(NotInitializedError, match="init_app"):
        get_state()
    with pytest.raises(NotInitializedError, match="init_app"):
        orbro.client_for("o", app=app)
    with pytest.raises(NotInitializedError, match="app context"):
        orbro.client_for("o")


def test_nothing_that_a_view_can_show_holds_a_secret(make_world: Callable[..., World]) -> None:
    def show() -> Any:
        caller = get_caller()
        # A careless view answers all it has.
        return jsonify(
            shown=[repr(caller), repr(current_identity), repr(current_organization), str(caller)],
            identity=current_identity._get_current_object(),  # type: ignore[attr-defined]
            organization=current_organization._get_current_object(),  # type: ignore[attr-defined]
            client=repr(world.orbro.client),
            state=repr(get_state()),
            everything=[repr(item) for item in vars(get_state()).values()],
            stored=[repr(item) for item in get_state().organizations.all()],
        )

    world = make_world(views={"/show": (user_required, show)})
    body = {"organization_id": "o", "shared_secret": "q" * 40}
    world.client.post("/installed", json=body)
    token = world.platform.user_token("acme")
    world.get("/users", token)
    answer = world.get("/show", token)
    assert answer.status_code == 200
    text = answer.get_data(as_text=True)
    assert world.organization_id in text
    assert json.loads(text)["organization"]["subdomain"] == "acme"
    row = world.stored()
    assert row is not None
    hidden = [token, row.shared_secret, CLIENT_SECRET, "q" * 40]
    hidden += [shown.partition(" ")[2] for _, shown in world.seen]
    assert [secret for secret in hidden if secret and secret in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_two_concurrent_requests_never_mix(make_world: Callable[..., World], kind: str) -> None:
    barrier = Barrier(8)

    def slowly() -> Any:
        before = who()
        barrier.wait(10)  # all eight are inside their views now
        client = world.orbro.client
        users = client.get(USERS_PATH).json()["data"]
        assert before == who()
        return before | {"users": [user["email"] for user in users], "client": client.origin}

    world = make_world(kind=kind, views={"/slow": (user_required, slowly)})
    world.install("other")
    names = ["acme", "other"] * 4
    tokens = [world.platform.user_token(name) for name in names]

    def ask(name: str, token: str) -> Any:
        return world.get("/slow", token, origin=world.origin(name)).json

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, names, tokens))
    for name, answer in zip(names, answers, strict=True):
        assert answer["organization"] == world.platform.organization(name).id
        assert answer["users"] == [answer["email"]] == [f"admin@{name}.example"]
        assert answer["client"] == world.origin(name)


def test_a_caller_does_not_outlive_its_request(make_world: Callable[..., World]) -> None:
    def told() -> Any:
        try:
            return {"caller": repr(get_caller())}
        except NoCallerError:
            return {"caller": None}

    world = make_world(views={"/told": (lambda view: view, told)})
    token = world.platform.user_token("acme")
    with world.client as client:
        client.get(
            "/user", query_string={"origin": world.origin()}, headers={"Authorization": f"Bearer {token}"}
        )
        assert client.get("/told").json == {"caller": None}
    is_problem(world.get("/user"), 401)


def test_a_caller_does_not_outlive_its_request_in_an_outer_app_context(
    make_world: Callable[..., World],
) -> None:
    world = make_world(views={"/open_to_all": (lambda view: view, who)})
    with world.app.app_context():
        assert "organization" in world.get("/user", world.platform.user_token("acme")).get_json()
        assert world.client.get("/open_to_all").get_json() == {}


def test_a_caller_is_no_other_requests_though_it_has_the_same_environment(
    make_world: Callable[..., World], make_app: Callable[..., Flask]
) -> None:
    def inner() -> dict[str, str | None]:
        try:
            return {"who": current_identity.uuid}
        except NoCallerError:
            return {"who": None}

    other = make_app()
    other.add_url_rule("/inner", "inner", inner)

    def outer() -> dict[str, Any]:
        environ = request.environ | {"PATH_INFO": "/inner"}
        told = [Response.from_app(app, environ).get_data() for app in (other, world.app)]
        return {"inner": [json.loads(answer)["who"] for answer in told], "outer": current_identity.uuid}

    world = make_world(views={"/outer": (user_required, outer), "/inner": (lambda view: view, inner)})
    answer = world.get("/outer", world.platform.user_token("acme")).get_json()
    assert answer["inner"] == [None, None]
    assert answer["outer"]
