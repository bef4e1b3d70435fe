"""The four decorators and ``any_of``: their forms, their options and their answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Barrier
from typing import Any

import pytest
from flask import jsonify
from flask.views import MethodView
from flask_restx import Resource

from flask_orbro import (
    any_of,
    authenticate_any_of,
    authenticate_connect_app,
    authenticate_open_api,
    authenticate_user,
    authenticate_webhook,
    connect_required,
    current_delivery,
    current_identity,
    open_api_required,
    user_required,
    webhook_required,
)

from .conftest import bearer
from .world import (
    CONNECT_PATH,
    KINDS,
    OPEN_API_PATH,
    USER_PATH,
    World,
    is_problem,
    webhook_token,
    what,
    who,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])

CREDENTIALS: dict[str, tuple[Any, Callable[[World], str], str]] = {
    "user": (user_required, lambda world: world.platform.user_token("acme"), "email"),
    "connect": (connect_required, lambda world: world.platform.connect_token("acme"), "scope"),
    "open": (open_api_required, lambda world: world.platform.open_api_token(), "uuid"),
}


@every_kind
@both_modes
def test_a_decorator_works_with_and_without_parentheses(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    views = {f"/bare/{name}": (decorator, who) for name, (decorator, _, _) in CREDENTIALS.items()}
    views |= {f"/called/{name}": (decorator(), who) for name, (decorator, _, _) in CREDENTIALS.items()}
    world = make_world(kind=kind, views=views, TESTING=testing)
    for name, (_, token, member) in CREDENTIALS.items():
        bare, called = (world.get(f"/{form}/{name}", token(world)) for form in ("bare", "called"))
        assert (bare.status_code, called.status_code) == (200, 200)
        assert bare.json == called.json
        assert member in bare.json
    for path in views:
        answer = world.get(path)
        assert is_problem(answer, 401)["code"] == "token_missing"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orbro"'


@every_kind
@both_modes
def test_a_webhook_reaches_every_kind_of_view(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, views={"/webhook/called": (webhook_required(), what)}, TESTING=testing)
    for path in (None, "/webhook/called"):
        outcome = world.platform.webhook("acme", "device:device_updated", {"x": "é"}, path)
        assert outcome.status == 200
        assert outcome.body["organization"] == world.organization_id
        assert outcome.body["payload"]["data"] == {"x": "é"}


ENOUGH: list[tuple[dict[str, Any], str | None]] = [
    ({"role": "HQ"}, None),
    ({"role": ("Branch", "HQ")}, None),
    ({"role": "hq"}, "role_not_enough"),
    ({"role": ["Branch"]}, "role_not_enough"),
    ({"status": "Activated"}, None),
    ({"status": "Blocked"}, "status_not_enough"),
    ({"role": "HQ", "status": "Blocked"}, "status_not_enough"),
]


@every_kind
def test_role_and_status_are_enough_or_not(make_world: Callable[..., World], kind: str) -> None:
    views = {f"/{number}": (user_required(**options), who) for number, (options, _) in enumerate(ENOUGH)}
    world = make_world(kind=kind, views=views)
    for path, (_, code) in zip(views, ENOUGH, strict=True):
        answer = world.get(path, world.platform.user_token("acme"))
        if code is None:
            assert answer.status_code == 200
        else:
            assert is_problem(answer, 403)["code"] == code
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_every_scope_that_is_wanted_must_be_there(make_world: Callable[..., World]) -> None:
    cases: list[tuple[str, Any, int]] = [
        ("read write", "read", 200),
        ("read,write", ("read", "write"), 200),
        ("read write", ("read", "admin"), 403),
        ("reader", "read", 403),
        ("", "read", 403),
        ("read write", "read write", 403),
    ]
    views = {f"/{n}": (connect_required(scope=wanted), who) for n, (_, wanted, _) in enumerate(cases)}
    world = make_world(views=views)
    for path, (scope, _, status) in zip(views, cases, strict=True):
        token = world.platform.connect_token("acme", scope=scope)
        assert world.get(path, token).status_code == status


@every_kind
@both_modes
def test_words_that_can_be_read_once_are_wanted_of_every_request(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    views = {
        "/scope": (connect_required(scope=(word for word in ["admin"])), who),
        "/role": (connect_required(role=map(str, ["HQ"])), who),
        "/status": (connect_required(status=iter(["Activated"])), who),
    }
    world = make_world(kind=kind, views=views, TESTING=testing)
    poor, rich = (world.platform.connect_token("acme", scope=scope) for scope in ("read", "read admin"))
    for _ in range(3):
        assert world.get("/scope", poor).status_code == 403
        assert world.get("/scope", rich).status_code == 200
        assert world.get("/role", poor).status_code == 200
        assert world.get("/status", poor).status_code == 200


@pytest.mark.parametrize("words", [(), [], "", [""], ["read", ""], [None], 7, [7], b"read", True, {}])
def test_words_that_let_everybody_in_or_nobody_are_refused(
    make_world: Callable[..., World], words: Any
) -> None:
    world = make_world(install=False)
    for option in ("role", "scope", "status"):
        with pytest.raises(TypeError):
            connect_required(**{option: words})
        with world.app.test_request_context(), pytest.raises(TypeError):
            authenticate_connect_app(**{option: words})


@pytest.mark.parametrize("option", ["role", "scope", "status"])
def test_a_delivery_has_no_words_that_could_be_wanted_of_it(option: str) -> None:
    # Such a view would refuse every delivery.
    with pytest.raises(TypeError, match=option):
        any_of("webhook", "connect", **{option: "HQ"})


@every_kind
@both_modes
def test_optional_lets_those_in_who_show_nothing_and_nobody_who_shows_something_bad(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(
        kind=kind, views={"/view": (user_required(optional=True, role="HQ"), who)}, TESTING=testing
    )
    assert world.get("/view").json == {}
    assert world.get("/view", world.platform.user_token("acme")).json["role"] == "HQ"
    for header in ("Bearer bad", "Bearer", "", "Basic YTpi", "junk"):
        is_problem(world.get("/view", headers={"Authorization": header}), 401)
    is_problem(world.get("/view", world.platform.connect_token("acme")), 401)


@every_kind
def test_any_of_takes_each_of_those_named_and_no_other(make_world: Callable[..., World], kind: str) -> None:
    world = make_world(kind=kind, views={"/view": (any_of("user", "open_api"), who)})
    assert world.get("/view", world.platform.user_token("acme")).json["email"]
    assert "email" not in world.get("/view", world.platform.open_api_token()).json
    is_problem(world.get("/view", world.platform.connect_token("acme")), 401)
    assert is_problem(world.get("/view"), 401)["code"] == "token_missing"


def test_any_of_takes_a_webhook_too(make_world: Callable[..., World]) -> None:
    def told() -> Any:
        return {"delivered": bool(current_delivery), "known": bool(current_identity)}

    world = make_world(views={"/webhook/both": (any_of("webhook", "connect"), told)})
    outcome = world.platform.webhook("acme", "device:device_updated", path="/webhook/both")
    assert outcome.body == {"delivered": True, "known": False}


@both_modes
@pytest.mark.parametrize("down", [USER_PATH, OPEN_API_PATH])
def test_any_of_answers_a_platform_fault_before_a_refusal(
    make_world: Callable[..., World], down: str, testing: bool
) -> None:
    # One question is refused and the other cannot be answered: the bearer may well belong here.
    world = make_world(views={"/view": (any_of("user", "open_api"), who)}, TESTING=testing)
    world.platform.faults.set(down, status=500)
    is_problem(world.get("/view", "nobodys.token.here"), 503)


def test_any_of_answers_too_little_before_a_bad_credential(make_world: Callable[..., World]) -> None:
    world = make_world(views={"/view": (any_of("user", "open_api", role="Boss"), who)})
    is_problem(world.get("/view", world.platform.user_token("acme")), 403)


@both_modes
def test_any_of_tells_the_same_refusal_in_any_order(make_world: Callable[..., World], testing: bool) -> None:
    orders = list(permutations(("webhook", "user", "connect")))
    views = {f"/webhook/{number}": (any_of(*kinds), dict) for number, kinds in enumerate(orders)}
    world = make_world(views=views, TESTING=testing)
    stored = world.stored()
    assert stored is not None
    secret = stored.shared_secret or ""
    expected = {
        webhook_token(secret, world.organization_id, exp=1): "token_expired",
        webhook_token(secret[::-1], world.organization_id): "token_invalid",
        world.platform.user_token("acme", expires_in=-5): "token_expired",
        "nobodys-token": "token_invalid",
    }
    for token, code in expected.items():
        for path in views:
            answer = world.client.post(
                path, query_string={"origin": world.origin()}, headers=bearer(token), json={}
            )
            assert is_problem(answer, 401)["code"] == code


@pytest.mark.parametrize("kinds", [(), ("users",), ("user", "connect_app"), ("USER",)])
def test_any_of_refuses_what_is_no_credential(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="Name some of"):
        any_of(*kinds)


@pytest.mark.parametrize("decorator", [user_required, connect_required, open_api_required, webhook_required])
def test_a_decorator_refuses_classes_and_what_is_no_view(decorator: Any) -> None:
    class View(MethodView):
        def get(self) -> str:
            return ""

    for thing in (View, Resource, "user", 7):
        with pytest.raises(TypeError):
            decorator(thing)
        with pytest.raises(TypeError):
            decorator()(thing)


@pytest.mark.parametrize("decorator", [user_required, connect_required, open_api_required, webhook_required])
def test_a_decorator_refuses_options_that_it_does_not_know(decorator: Any) -> None:
    with pytest.raises(TypeError):
        decorator(roles="HQ")
    with pytest.raises(TypeError):
        any_of("user", roles="HQ")


def test_a_scope_is_no_option_of_credentials_that_have_none() -> None:
    # Such a view would never let anybody in.
    for decorator in (user_required, open_api_required):
        with pytest.raises(TypeError):
            decorator(scope="read")  # type: ignore[call-overload]


def test_the_view_keeps_its_name_its_words_and_its_arguments(make_world: Callable[..., World]) -> None:
    @user_required
    def view(number: int) -> str:
        """Words."""
        return str(number)

    assert (view.__name__, view.__doc__) == ("view", "Words.")


@both_modes
def test_the_call_form_judges_inside_a_view(make_world: Callable[..., World], testing: bool) -> None:
    ran: list[str] = []

    def body() -> Any:
        ran.append("before")
        caller = authenticate_user(role="HQ")
        ran.append("after")
        assert caller.identity == current_identity
        return {"uuid": current_identity.uuid}

    world = make_world(views={"/view": (lambda view: view, body)}, TESTING=testing)
    assert world.get("/view", world.platform.user_token("acme")).json["uuid"]
    is_problem(world.get("/view", "bad"), 401)
    assert ran == ["before", "after", "before"]


def test_every_credential_has_a_call_form(make_world: Callable[..., World]) -> None:
    def calling(function: Any) -> Any:
        return lambda: jsonify(str(type(function().identity).__name__))

    plain = {"/c": authenticate_connect_app, "/o": authenticate_open_api, "/webhook/w": authenticate_webhook}
    views = {path: (lambda view: view, calling(function)) for path, function in plain.items()}
    world = make_world(views=views)
    assert world.get("/c", world.platform.connect_token("acme")).json == "ConnectAppIdentity"
    assert world.get("/o", world.platform.open_api_token()).json == "OpenApiIdentity"
    assert world.platform.webhook("acme", "device:device_updated", path="/webhook/w").body == "NoneType"


@both_modes
def test_a_token_of_another_kind_is_refused(make_world: Callable[..., World], testing: bool) -> None:
    world = make_world(TESTING=testing)
    platform = world.platform
    tokens = {
        "user": platform.user_token("acme"),
        "connect": platform.connect_token("acme"),
        "open": platform.open_api_token(),
        "webhook": platform.webhook_token("acme"),
        "app": platform.app_token(platform.installation("acme")),
    }
    # connect-auth/token is assumed to take app tokens too: a Connect app is such a caller.
    right = {("user", "user"), ("connect", "connect"), ("connect", "app"), ("open", "open")}
    for kind, token in tokens.items():
        accepting = {
            (path, kind)
            for path in ("user", "connect", "open")
            if world.get(f"/{path}", token).status_code == 200
        }
        assert accepting == {pair for pair in right if pair[1] == kind}
        assert world.deliver(token).status_code == (200 if kind == "webhook" else 401)


@pytest.mark.parametrize("path", [USER_PATH, CONNECT_PATH])
def test_many_requests_with_one_new_token_ask_the_platform_once(
    make_world: Callable[..., World], path: str
) -> None:
    world = make_world()
    before = world.asked(path)
    world.platform.faults.set(path, delay=0.4)
    barrier = Barrier(16)
    view, token = (
        ("/user", world.platform.user_token("acme"))
        if path == USER_PATH
        else ("/connect", world.platform.connect_token("acme"))
    )

    def ask(_: int) -> int:
        barrier.wait(10)
        return world.get(view, token).status_code

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [200] * 16
    assert world.asked(path) - before == 1


def test_any_of_several_credentials_is_judged_inside_a_view(make_world: Callable[..., World]) -> None:
    def judged() -> Any:
        with authenticate_any_of("user", "connect", role="HQ") as caller:
            return {"kind": type(caller.identity).__name__}

    world = make_world(views={"/view": (lambda view: view, judged)})
    assert world.get("/view", world.platform.user_token("acme")).json == {"kind": "UserIdentity"}
    assert world.get("/view", world.platform.connect_token("acme")).json == {"kind": "ConnectAppIdentity"}
    assert world.get("/view", world.platform.open_api_token()).status_code == 401
    with world.app.test_request_context():
        with pytest.raises(ValueError, match="Name some of"):
            authenticate_any_of("nobody")
        with pytest.raises(TypeError, match="scope"):
            authenticate_any_of("user", scope="read")
