"""Which token is accepted where."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest

from flask_orbro.simulator import Platform, SimulatorServer

USER, CONNECT, OPEN_API = "/api/v1/auth", "/api/v1/connect-auth/token", "/api/v1/oauth/token"
SECRET = "a shared secret that is long enough for HS256"


@pytest.fixture
def installed(server, app):
    server.platform.install(app.url, "acme", "client-1", shared_secret=SECRET)
    return server.platform.installation("acme")


def test_user_token_is_accepted_at_its_own_organization(server, ask):
    token = server.platform.user_token("acme")
    answer = ask("GET", "acme", USER, token)
    assert answer.status_code == 200
    assert set(answer.json()) == {"uuid", "role", "status"}
    assert jwt.decode(token, options={"verify_signature": False})["data"] == "admin@acme.example"


def test_user_token_is_refused_at_another_organization(server, ask):
    server.platform.organization("globex")
    answer = ask("GET", "globex", USER, server.platform.user_token("acme"))
    assert (answer.status_code, answer.json()["error_code"]) == (401, "INVALID_TOKEN")


def test_verdict_follows_the_user(server, ask):
    user = server.platform.user(server.platform.organization("acme"))
    user["role"] = "GUEST"
    assert ask("GET", "acme", USER, server.platform.user_token("acme")).json()["role"] == "GUEST"


def test_each_kind_is_accepted_by_its_own_endpoint_alone(server, ask, app, installed):
    platform = server.platform
    platform.open_api_owner = platform.organization("acme")
    tokens = {
        "user": platform.user_token("acme"),
        "connect": platform.connect_token("acme"),
        "app": platform.app_token(installed),
        "open-api": platform.open_api_token(),
        "webhook": platform.webhook_token("acme"),
    }
    takes = {("acme", USER): {"user"}, ("acme", CONNECT): {"connect", "app"}}
    takes[None, OPEN_API] = {"open-api"}
    for (host, path), kinds in takes.items():
        for kind, token in tokens.items():
            status = ask("GET", host, path, token).status_code
            assert status == (200 if kind in kinds else 401), (path, kind)


@pytest.mark.parametrize(("host", "path"), [("acme", OPEN_API), (None, USER), (None, CONNECT)])
def test_endpoints_exist_on_their_own_host_only(server, ask, host, path):
    server.platform.organization("acme")
    assert ask("GET", host, path, "any").status_code == 404


def test_connect_token_verdict_names_the_organization_and_the_scope(server, ask):
    token = server.platform.connect_token("acme", scope="read")
    verdict = ask("GET", "acme", CONNECT, token).json()
    assert set(verdict) == {"id", "uuid", "organization_id", "role", "status", "scope"}
    assert verdict["organization_id"] == server.platform.organization("acme").id
    assert verdict["scope"] == "read"


def test_app_token_of_the_app_is_accepted(ask, installed, mint):
    token = mint(SECRET, iss="client-1", sub=f"uuid:{installed.installed_user_id}")
    verdict = ask("GET", "acme", CONNECT, token)
    assert verdict.status_code == 200
    assert verdict.json()["organization_id"] == installed.organization_id
    assert verdict.json()["scope"] == "read write"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "client-2"},
        {"iss": None},
        {"issued_by": "meta-platform-webhook"},
        {"issued_by": None},
        {"sub": "uuid:somebody-else"},
        {"sub": 7},
        {"exp": None},
        {"exp": True},
        {"exp": "2100-01-01"},
        {"exp": float("inf")},
        {"exp": float("nan")},
    ],
    ids=str,
)
def test_app_token_with_a_wrong_claim_is_refused(ask, installed, mint, claims):
    answer = ask("GET", "acme", CONNECT, mint(SECRET, **{"iss": "client-1", **claims}))
    assert (answer.status_code, answer.json()["error_code"]) == (401, "INVALID_TOKEN")


def test_app_token_is_refused_at_another_organization(server, ask, installed, mint):
    server.platform.organization("globex")
    assert ask("GET", "globex", CONNECT, mint(SECRET, iss="client-1")).status_code == 401


def test_issuer_is_not_checked_where_none_is_known(server, app, ask, mint):
    server.platform.install(app.url, "acme", shared_secret=SECRET)
    assert ask("GET", "acme", CONNECT, mint(SECRET, iss="whoever")).status_code == 200


@pytest.mark.parametrize("algorithm", ["HS512", "none"])
def test_other_algorithms_are_refused(ask, installed, algorithm):
    key = SECRET * 2 if algorithm == "HS512" else None
    token = jwt.encode({"exp": 4102444800}, key, algorithm=algorithm)
    assert ask("GET", "acme", CONNECT, token).status_code == 401


def test_expired_tokens_say_so(server, ask, installed, mint):
    platform = server.platform
    expired = {
        ("acme", USER): platform.user_token("acme", expires_in=-1),
        ("acme", CONNECT): platform.connect_token("acme", expires_in=-1),
        (None, OPEN_API): platform.open_api_token(expires_in=-1),
        ("acme", "/api/v1/users"): mint(SECRET, iss="client-1", exp=1),
    }
    for (host, path), token in expired.items():
        answer = ask("GET", host, path, token)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "TOKEN_EXPIRED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_clock_of_the_platform_decides():
    now = [time.time()]
    platform = Platform(clock=lambda: now[0])
    organization = platform.organization("acme")
    token = platform.user_token("acme", expires_in=60)
    assert platform.check_user_token(organization, token)["email"] == "admin@acme.example"
    now[0] += 61
    with pytest.raises(Exception, match="expired"):
        platform.check_user_token(organization, token)


def test_token_of_another_platform_is_refused(ask, server):
    server.platform.organization("acme")
    assert ask("GET", "acme", USER, Platform().user_token("acme")).status_code == 401


def test_token_of_a_removed_user_is_refused(server, ask):
    token = server.platform.user_token("acme")
    server.platform.organization("acme").users.clear()
    assert ask("GET", "acme", USER, token).status_code == 401


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer \xff", "Bearer " + "." * 99],
)
def test_nonsense_credentials_are_refused(server, header):
    server.platform.organization("acme")
    client = server.app.test_client()
    headers = {"Host": f"acme.{server.platform_host}", "Authorization": header}
    assert client.get(CONNECT, headers=headers).status_code == 401


def test_tokens_differ_even_within_one_second(server):
    assert server.platform.user_token("acme") != server.platform.user_token("acme")


def test_webhook_token_forms(server, installed):
    def claims(**options: Any) -> dict[str, Any]:
        token = server.platform.webhook_token("acme", **options)
        return jwt.decode(token, SECRET, algorithms=["HS256"])

    usual = claims()
    assert usual["issued_by"] == "meta-platform-webhook"
    assert usual["sub"] == f"organizationId:{installed.organization_id}"
    assert usual["exp"] - usual["iat"] == 300
    assert claims(older_sub=True)["sub"] == f"uuid:{installed.installed_user_id}"


class TestExchange:
    """``POST /api/v1/oauth/token``."""

    @pytest.fixture(autouse=True)
    def _installed(self, server: SimulatorServer, app):
        server.platform.install(app.url, "acme", "client-1", client_secret="s3cret")

    def ask(self, server, ask, client="client-1:s3cret", **fields: Any):
        body = {
            "username": base64.b64encode(client.encode()).decode(),
            "password": server.platform.user_token("acme"),
            "origin": f"http://acme.{server.platform_host}",
        }
        return ask("POST", None, OPEN_API, content=json.dumps({**body, **fields}))

    def test_issues_an_app_token(self, server, ask):
        answer = self.ask(server, ask)
        assert answer.status_code == 200
        token = answer.json()["access_token"]
        assert ask("GET", "acme", CONNECT, token).status_code == 200

    @pytest.mark.parametrize("client", ["client-2:s3cret", "client-1:other", "client-1", "", ":"])
    def test_wrong_client_is_refused(self, server, ask, client):
        assert self.ask(server, ask, client).status_code == 401

    @pytest.mark.parametrize(
        "fields",
        [
            {"username": "ÿ"},
            {"username": base64.b64encode(b"\xff:\xff").decode()},
            {"password": "nonsense"},
            {"password": "\ud800"},
            {"origin": "http://globex.orbro.localhost"},
            {"origin": "http://acme.evil.example"},
            {"origin": "http://["},
            {"origin": ""},
        ],
        ids=json.dumps,
    )
    def test_wrong_fields_are_refused(self, server, ask, fields):
        assert self.ask(server, ask, **fields).status_code == 401

    @pytest.mark.parametrize("fields", [{"username": 1}, {"password": None}, {"origin": []}])
    def test_wrong_types_are_a_bad_request(self, server, ask, fields):
        assert self.ask(server, ask, **fields).status_code == 400

    def test_user_of_another_organization_is_refused(self, server, ask):
        token = server.platform.user_token("globex")
        assert self.ask(server, ask, password=token).status_code == 401

    def test_uninstalled_app_is_refused(self, server, ask, app):
        server.platform.uninstall(app.url, "acme")
        assert self.ask(server, ask).status_code == 401
