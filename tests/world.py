"""A whole world for a test: one app with a view for each credential, over HTTP, and its platform."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from flask import Flask
from flask.testing import FlaskClient
from flask_restx import Api, Resource
from werkzeug.test import TestResponse

from flask_orbro import (
    OrbroConnect,
    connect_required,
    current_delivery,
    current_identity,
    current_organization,
    open_api_required,
    user_required,
    webhook_required,
)
from flask_orbro.installation import Organization
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, bearer

#: The same view in the four ways that people write one; flask-restx differs from Flask.
KINDS = ("resource", "async resource", "view", "async view")
USER_PATH = "/api/v1/auth"
CONNECT_PATH = "/api/v1/connect-auth/token"
OPEN_API_PATH = "/api/v1/oauth/token"
USERS_PATH = "/api/v1/users"

Body = Callable[[], Any]
Views = Mapping[str, tuple[Callable[[Any], Any], Body]]


def make_view(kind: str, decorate: Callable[[Any], Any], body: Body) -> Any:
    """A view function, or a method of a Resource, that is sync or async; parts of its path go nowhere."""
    if kind == "resource":

        def method(self: Resource, **_parts: Any) -> Any:
            return body()

        return decorate(method)
    if kind == "async resource":

        async def async_method(self: Resource, **_parts: Any) -> Any:
            return body()

        return decorate(async_method)
    if kind == "view":

        def view(**_parts: Any) -> Any:
            return body()

        return decorate(view)

    async def async_view(**_parts: Any) -> Any:
        return body()

    return decorate(async_view)


def add_view(app: Flask, api: Api | None, kind: str, path: str, view: Any) -> None:
    method = "POST" if path.startswith("/webhook") else "GET"
    if api is None:
        app.add_url_rule(path, path, view, methods=[method])
    else:
        api.add_resource(
            type("View", (Resource,), {method.lower(): view}), path, endpoint=path.replace("/", "_")
        )


def who() -> dict[str, Any]:
    """What the proxies tell."""
    told: dict[str, Any] = vars(current_identity._get_current_object()) if current_identity else {}
    if current_organization:
        told = told | {"organization": current_organization.organization_id}
    return told


def what() -> dict[str, Any]:
    """What was delivered."""
    return {"organization": current_delivery.organization_id, "payload": current_delivery.payload}


class World:
    """:param kind: one of :data:`KINDS`.
    :param views: more views: a decorator and a body, by path.
    :param install: install the app for the organization ``acme``.
    """

    def __init__(
        self,
        make_app: Callable[..., Flask],
        serving: Callable[[Flask], str],
        simulator: SimulatorServer,
        *,
        kind: str = "view",
        views: Views | None = None,
        orbro: OrbroConnect | None = None,
        install: bool = True,
        **config: Any,
    ) -> None:
        self.simulator, self.platform = simulator, simulator.platform
        self.orbro = orbro or OrbroConnect()
        self.app = make_app(self.orbro, **config)
        self.api = Api(self.app, doc=False) if "resource" in kind else None
        if self.api is not None:
            self.orbro.init_api(self.api)
        known: Views = {
            "/user": (user_required, who),
            "/connect": (connect_required, who),
            "/open": (open_api_required, who),
            "/users": (user_required, lambda: self.orbro.client.get(USERS_PATH).raise_for_status().json()),
            "/webhook/device": (webhook_required, what),
        }
        for path, (decorate, body) in {**known, **(views or {})}.items():
            add_view(self.app, self.api, kind, path, make_view(kind, decorate, body))
        self.app.add_url_rule("/unprotected", "unprotected", dict)
        self.organization_id = self.platform.organization("acme").id
        #: Path and ``Authorization`` of every request that reached the platform.
        self.seen: list[tuple[str, str]] = []
        self.watch(
            lambda environ: self.seen.append((environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")))
        )
        self.url = serving(self.app)
        if install:
            self.install()

    def watch(self, look: Callable[[dict[str, Any]], Any]) -> None:
        """Look at every request that reaches the platform, before it is answered."""
        inner = self.simulator.app.wsgi_app

        def looking(environ: dict[str, Any], start_response: Any) -> Any:
            look(environ)
            return inner(environ, start_response)

        self.simulator.app.wsgi_app = looking  # type: ignore[method-assign]

    def install(self, subdomain: str = "acme", **options: Any) -> None:
        assert self.platform.install(self.url, subdomain, client_id=CLIENT_ID, **options).ok

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def origin(self, subdomain: str = "acme") -> str:
        return f"http://{subdomain}.{self.simulator.platform_host}"

    def get(
        self, path: str, token: str | None = None, *, origin: str | None = None, **more: Any
    ) -> TestResponse:
        """GET as a caller of ``acme``, or of whatever ``origin`` names."""
        query = {"origin": self.origin() if origin is None else origin}
        headers = bearer(token) if token is not None else {}
        return self.client.get(path, query_string=query, headers=headers | more.pop("headers", {}), **more)

    def deliver(self, token: str, scheme: str = "Bearer ", **body: Any) -> TestResponse:
        """POST a webhook."""
        body = body or {"json": {}}
        return self.client.post("/webhook/device", headers={"Authorization": scheme + token}, **body)

    def stored(self, organization_id: str | None = None) -> Organization | None:
        return get_state(self.app).organizations.get(organization_id or self.organization_id)

    def everything(self) -> tuple[list[Organization], int]:
        """All that is stored: organizations, and how many claims wait."""
        state = get_state(self.app)
        return list(state.organizations.all()), state.claims.count()

    def asked(self, path: str) -> int:
        """How often the platform was asked."""
        return self.platform.counts[path]


def webhook_token(secret: str, organization_id: str, **claims: Any) -> str:
    """A webhook token of our own making; a claim that is ``None`` is left out, a call is called now."""
    now = int(time.time())
    usual = {
        "issued_by": "meta-platform-webhook",
        "sub": f"organizationId:{organization_id}",
        "iat": now,
        "exp": now + 60,
    }
    claims = {name: value() if callable(value) else value for name, value in claims.items()}
    told = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(told, secret, algorithm="HS256")


def is_problem(response: Any, status: int) -> dict[str, Any]:
    """Assert a problem document, and give it."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.json
    assert {"type", "title", "status", "detail", "code"} <= set(document)
    assert document["status"] == status
    return document
