"""Every kind of endpoint with every credential, in every kind of view: exact outcomes, from one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, current_app
from flask_restx import Api, Resource
from werkzeug.test import TestResponse

from flask_orbro import (
    Delivery,
    OrbroConnect,
    any_of,
    authenticate_any_of,
    authenticate_connect_app,
    authenticate_open_api,
    authenticate_user,
    authenticate_webhook,
    connect_required,
    current_delivery,
    current_identity,
    current_organization,
    open_api_required,
    user_required,
    webhook_required,
)
from flask_orbro.simulator import Platform, SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, CLIENT_SECRET, DESCRIPTOR, bearer, serve
from .credentials import (
    CONNECT,
    IN,
    KINDS,
    MISSING,
    OPEN_API,
    OUTCOMES,
    OWN_KEY,
    TELLING,
    USER,
    WEBHOOK,
    Credentials,
)
from .world import KINDS as VIEWS
from .world import make_view

NOBODY = "nobody"
#: Whom ``optional=True`` lets pass, as nobody.
PASSING = ("none", "own")


def awaited(view: Any) -> Any:
    """For a method of a Resource that is async and has no decorator: flask-restx runs no coroutine."""

    @wraps(view)
    def run(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(view)(*args, **kwargs)

    return run


@dataclass(frozen=True)
class Endpoint:
    """:param takes: the kinds of credential.
    :param decorator: around the view.
    :param call: what the view calls.
    """

    takes: tuple[str, ...]
    decorator: Any = awaited
    call: Callable[[], Any] = dict
    optional: bool = False

    def told(self) -> dict[str, Any]:
        """The view: as whom it sees its caller."""
        self.call()
        organization = current_organization.organization_id if current_organization else None
        identity = type(current_identity._get_current_object()).__name__ if current_identity else NOBODY
        return {"as": WEBHOOK if current_delivery else identity, "organization": organization}


ENDPOINTS = {
    "user": Endpoint((USER,), user_required),
    "connect": Endpoint((CONNECT,), connect_required),
    "open_api": Endpoint((OPEN_API,), open_api_required),
    "webhook": Endpoint((WEBHOOK,), webhook_required),
    "user or connect": Endpoint((USER, CONNECT), any_of(USER, CONNECT)),
    "webhook or open_api": Endpoint((WEBHOOK, OPEN_API), any_of(WEBHOOK, OPEN_API)),
    "any": Endpoint(KINDS, any_of(*KINDS)),
    "optional user": Endpoint((USER,), user_required(optional=True), optional=True),
    "optional connect": Endpoint((CONNECT,), connect_required(optional=True), optional=True),
    "optional any": Endpoint(KINDS, any_of(*KINDS, optional=True), optional=True),
    "call for user": Endpoint((USER,), call=authenticate_user),
    "call for connect": Endpoint((CONNECT,), call=authenticate_connect_app),
    "call for open_api": Endpoint((OPEN_API,), call=authenticate_open_api),
    "call for webhook": Endpoint((WEBHOOK,), call=authenticate_webhook),
    "call for any": Endpoint(KINDS, call=partial(authenticate_any_of, *KINDS)),
    "optional call": Endpoint((USER,), call=partial(authenticate_user, optional=True), optional=True),
}
#: As what each kind is let in.
SEEN_AS = {
    USER: "UserIdentity", CONNECT: "ConnectAppIdentity", OPEN_API: "OpenApiIdentity", WEBHOOK: WEBHOOK,
}  # fmt: skip


@dataclass
class World:
    platform: Platform
    app: Flask
    host: str
    #: Organizations whose deliveries a handler was given.
    handled: list[str]
    credentials: dict[str, str | None] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def organization_id(self) -> str:
        return self.platform.organization("acme").id

    def post(self, path: str, credential: str, body: Any = None, subdomain: str = "acme") -> TestResponse:
        token = self.credentials[credential]
        return self.app.test_client().post(
            path,
            query_string={"origin": f"http://{subdomain}.{self.host}"},
            json=body or {"number": next(self._numbers)},
            headers=bearer(token) if token else {},
        )


@pytest.fixture(scope="module", params=[True, False], ids=["testing", "production"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
    with SimulatorServer() as server:
        handled: list[str] = []
        app = make_app(folder, server, handled, TESTING=request.param)
        world = World(server.platform, app, server.platform_host, handled)
        with serve(app) as url:
            for subdomain in ("acme", "globex"):
                assert server.platform.install(url, subdomain, client_id=CLIENT_ID).ok
        world.credentials = Credentials(server.platform).all()
        for kind in (USER, CONNECT):  # what is remembered of one organization says nothing about another
            token = f"{kind}, of another organization"
            assert world.post(f"/view/{kind}", token, subdomain="globex").status_code == 200
        yield world
        get_state(app).close()


def make_app(folder: Path, server: SimulatorServer, handled: list[str], **config: Any) -> Flask:
    app = Flask("matrix", root_path=str(folder), instance_path=str(folder))
    app.config.update(
        config,
        JWT_SECRET_KEY=OWN_KEY,
        ORBRO_CLIENT_ID=CLIENT_ID,
        ORBRO_CLIENT_SECRET=CLIENT_SECRET,
        ORBRO_PLATFORM_HOST=server.platform_host,
        ORBRO_PLATFORM_SCHEME="http",
        ORBRO_SWEEPER=False,
        ORBRO_WORKER="inline",
    )
    orbro = OrbroConnect(app)
    add_handlers(orbro, handled)
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    api = Api(blueprint, doc=False)
    for name, endpoint in ENDPOINTS.items():
        for kind in VIEWS:
            add_view(app, api, kind, name, endpoint)
    app.register_blueprint(blueprint)
    orbro.init_api(api, app)
    return app


def add_handlers(orbro: OrbroConnect, handled: list[str]) -> None:
    @orbro.on("device:device_created", path="/on/sync")
    def handle(delivery: Delivery) -> None:
        handled.append(delivery.organization_id)

    @orbro.on("device:device_created", path="/on/async")
    async def handle_async(delivery: Delivery) -> None:
        handled.append(delivery.organization_id)


def add_view(app: Flask, api: Api, kind: str, name: str, endpoint: Endpoint) -> None:
    view = make_view(kind, endpoint.decorator, endpoint.told)
    path, known_as = path_of(kind, name), f"{kind} {name}".replace(" ", "_")
    if "resource" in kind:
        resource = type("View", (Resource,), {"post": view})
        api.add_resource(resource, path.removeprefix("/api"), endpoint=known_as)
    else:
        app.add_url_rule(path, known_as, view, methods=["POST"])


def path_of(kind: str, name: str) -> str:
    return f"{'/api' if 'resource' in kind else ''}/{kind}/{name}".replace(" ", "-")


def expected(endpoint: Endpoint, credential: str, organization_id: str) -> tuple[int, Any]:
    """Status, and whom the view sees, or the code of the refusal."""
    if endpoint.optional and credential in PASSING:
        return 200, {"as": NOBODY, "organization": None}
    outcomes = dict(zip(KINDS, OUTCOMES[credential], strict=True))
    for kind in endpoint.takes:
        if outcomes[kind] == IN:
            return 200, {"as": SEEN_AS[kind], "organization": None if kind == OPEN_API else organization_id}
    return 401, max((outcomes[kind] for kind in endpoint.takes), key=TELLING.index)


def is_as_expected(answer: TestResponse, status: int, told: Any) -> bool:
    document, challenge = answer.get_json(), answer.headers.get("WWW-Authenticate")
    if answer.status_code != status:
        return False
    if status != 401:
        return challenge is None and bool(document == told)
    error = "" if document["code"] == MISSING else ', error="invalid_token"'
    return (
        answer.content_type == "application/problem+json"
        and document["code"] == told
        and challenge == f'Bearer realm="orbro"{error}'
    )


def test_the_table_is_of_these_credentials(world: World) -> None:
    assert list(OUTCOMES) == list(world.credentials)


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_takes_its_own_credentials_alone(world: World, name: str, kind: str) -> None:
    wrong = []
    for credential in OUTCOMES:
        answer = world.post(path_of(kind, name), credential)
        status, told = expected(ENDPOINTS[name], credential, world.organization_id)
        if not is_as_expected(answer, status, told):
            wrong.append((credential, status, told, answer.status_code, answer.get_json()))
    assert wrong == []


@pytest.mark.parametrize("path", ["/on/sync", "/on/async"])
def test_a_handler_is_given_deliveries_alone(world: World, path: str) -> None:
    wrong = []
    for credential in OUTCOMES:
        world.handled.clear()
        answer = world.post(path, credential)
        status, told = expected(Endpoint((WEBHOOK,)), credential, world.organization_id)
        if status == 401:
            right = is_as_expected(answer, status, told) and world.handled == []
        else:
            right = answer.status_code == 202 and world.handled == [world.organization_id]
        if not right:
            wrong.append((credential, status, told, answer.status_code, answer.get_json(), *world.handled))
    assert wrong == []


#: What anybody may say of ``globex``, who it is said to be from put aside: body, status and code.
LIFECYCLE: dict[str, tuple[dict[str, str], int, str | None]] = {
    "/installed": ({"shared_secret": "f" * 40, "subdomain": "globex"}, 200, None),
    "/uninstalled": ({}, 200, None),
    "/enabled": ({}, 200, None),
    "/disabled": ({"organization_id": "nobody"}, 404, "unknown_organization"),
}


@pytest.mark.parametrize("path", LIFECYCLE)
def test_no_credential_makes_a_lifecycle_call_count(world: World, path: str) -> None:
    organization_id = world.platform.organization("globex").id
    body, status, code = LIFECYCLE[path]
    store = get_state(world.app).organizations

    def trusted() -> Any:
        row = store.get(organization_id)
        return row and (row.state, row.shared_secret, row.subdomain, row.bound_subdomain, row.previous_secret)

    before = trusted()
    for credential in OUTCOMES:
        answer = world.post(path, credential, {"organization_id": organization_id} | body)
        document = answer.get_json() or {}
        assert (answer.status_code, document.get("code")) == (status, code), credential
        assert trusted() == before, credential
