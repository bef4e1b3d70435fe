"""Every kind of endpoint with every kind of credential: exact outcomes, generated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask, jsonify
from flask_restx import Api, Resource

from flask_orbro import (
    OrbroConnect,
    connect_required,
    open_api_required,
    user_required,
    webhook_required,
)
from flask_orbro.simulator import Platform, SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, CLIENT_SECRET, DESCRIPTOR, bearer, serve

DECORATORS = {
    "user": user_required,
    "connect": connect_required,
    "open_api": open_api_required,
    "webhook": webhook_required,
}
VIEWS = ("resource", "view", "async")
RIGHT = ("user", "connect", "open_api", "webhook")
FORGED = ("expired", "wrong_organization", "wrong_issuer", "alg_none", "alg_swapped", "other_key")
#: Tokens that say what they are: refused by the app, without a question.
OTHER_KIND = "token_of_another_kind"


@dataclass
class World:
    platform: Platform
    app: Flask
    origin: str
    key = rsa.generate_private_key(65537, 2048)

    def token(self, kind: str, subdomain: str = "acme", **options: Any) -> str:
        if kind == "open_api":
            return self.platform.open_api_token(**options)
        made: str = getattr(self.platform, f"{kind}_token")(subdomain, **options)
        return made

    def credential(self, name: str, kind: str) -> str | None:
        """A credential for an endpoint of a kind: none, a right one of some kind, or a forged one."""
        if name == "none":
            return None
        if name in RIGHT:
            return self.token(name)
        if name == "expired":
            return self.token(kind, expires_in=-60)
        if name == "wrong_organization":
            return self._of_another_organization(kind)
        claims = jwt.decode(self.token(kind), options={"verify_signature": False})
        if name == "wrong_issuer":
            claims["issued_by"] = "meta-platform-somebody"
        if name == "alg_none":
            return jwt.encode(claims, None, algorithm="none")
        if name == "alg_swapped":
            return jwt.encode(claims, self.key, algorithm="RS256")
        key = self._secret() if name == "wrong_issuer" and kind == "webhook" else "k" * 64
        return jwt.encode(claims, key, algorithm="HS256")

    def _of_another_organization(self, kind: str) -> str:
        if kind != "webhook":
            return self.token("user" if kind == "open_api" else kind, "globex")
        claims = jwt.decode(self.token("webhook"), options={"verify_signature": False})
        return jwt.encode(claims, self._secret("globex"), algorithm="HS256")

    def _secret(self, subdomain: str = "acme") -> str:
        return self.platform.installation(subdomain).shared_secret


@pytest.fixture(scope="module", params=[True, False], ids=["testing", "production"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
    with SimulatorServer() as server:
        app = make_app(folder, server, request.param)
        with serve(app) as url:
            for subdomain in ("acme", "globex"):
                assert server.platform.install(url, subdomain, client_id=CLIENT_ID).ok
        yield World(server.platform, app, f"http://acme.{server.platform_host}")
        get_state(app).close()


def make_app(folder: Path, server: SimulatorServer, testing: bool) -> Flask:
    app = Flask("matrix", root_path=str(folder), instance_path=str(folder))
    app.config.update(
        TESTING=testing,
        ORBRO_CLIENT_ID=CLIENT_ID,
        ORBRO_CLIENT_SECRET=CLIENT_SECRET,
        ORBRO_PLATFORM_HOST=server.platform_host,
        ORBRO_PLATFORM_SCHEME="http",
        ORBRO_SWEEPER=False,
    )
    orbro = OrbroConnect(app)
    api = Api(app, doc=False)
    orbro.init_api(api)
    for kind, decorator in DECORATORS.items():
        add_views(app, api, kind, decorator)
    return app


def add_views(app: Flask, api: Api, kind: str, decorator: Any) -> None:
    @api.route(f"/resource/{kind}", endpoint=f"resource_{kind}")
    class Endpoint(Resource):
        @decorator
        def post(self) -> Any:
            return {"kind": kind}

    @decorator
    def view() -> Any:
        return jsonify(kind=kind)

    @decorator
    async def async_view() -> Any:
        return jsonify(kind=kind)

    app.add_url_rule(f"/view/{kind}", f"view_{kind}", view, methods=["POST"])
    app.add_url_rule(f"/async/{kind}", f"async_{kind}", async_view, methods=["POST"])


def expected(kind: str, credential: str) -> tuple[int, str | None]:
    """Status and ``code`` of the answer."""
    if credential == kind:
        return 200, None
    if credential == "none":
        return 401, "token_missing"
    if kind != "webhook" and credential == "webhook":
        return 401, OTHER_KIND
    if credential == "expired":
        return 401, "token_expired"
    return 401, "token_invalid"


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", DECORATORS)
@pytest.mark.parametrize("credential", ["none", *RIGHT, *FORGED])
def test_each_endpoint_takes_its_own_credential_alone(
    world: World, credential: str, kind: str, view: str
) -> None:
    token = world.credential(credential, kind)
    response = world.app.test_client().post(
        f"/{view}/{kind}",
        query_string={"origin": world.origin},
        json={"at": 1},
        headers=bearer(token) if token else {},
    )
    status, code = expected(kind, credential)
    assert response.status_code == status
    assert (response.get_json() or {}).get("code") == code
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
