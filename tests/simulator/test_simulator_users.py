"""The users API of the platform."""

from __future__ import annotations

import pytest

USERS = "/api/v1/users"


@pytest.fixture
def token(server, app):
    server.platform.install(app.url, "acme")
    return server.platform.app_token(server.platform.installation("acme"))


def test_a_users_whole_life(ask, token):
    created = ask("POST", "acme", USERS, token, json={"email": "a@acme.example", "phone": "1"})
    assert created.status_code == 201
    user = created.json()
    assert (user["role"], user["status"], user["phone"]) == ("HQ", "Activated", "1")
    one = f"{USERS}/{user['id']}"
    assert ask("GET", "acme", one, token).json() == user
    patched = ask("PATCH", "acme", one, token, json={"name": "Ada"}).json()
    assert patched == {**user, "name": "Ada"}
    replaced = ask("PUT", "acme", one, token, json={"email": "b@acme.example"}).json()
    assert replaced["email"] == "b@acme.example"
    assert (replaced["name"], "phone" in replaced) == ("", False)
    assert len(ask("GET", "acme", USERS, token).json()["data"]) == 2
    assert ask("HEAD", "acme", USERS, token).status_code == 200
    deleted = ask("DELETE", "acme", one, token)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert ask(method, "acme", one, token).status_code == 404
    assert ask("PATCH", "acme", one, token, json={}).json()["error_code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"email": NaN}',
        b"{}",
        b'{"email": 1}',
        b'{"email": "nobody"}',
        b'{"email": "a@b", "name": null}',
        b'{"email": "a@b", "id": "mine"}',
        b"\xff",
        b"[" * 100_000,
        b"1" * 10_000,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_bad_bodies_are_a_bad_request(ask, token, content):
    answer = ask("POST", "acme", USERS, token, content=content)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")


def test_an_email_belongs_to_one_user(ask, token):
    answer = ask("POST", "acme", USERS, token, json={"email": "admin@acme.example"})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "CONFLICT")


def test_organizations_take_app_tokens_only(server, ask, token):
    platform = server.platform
    refused = [
        platform.user_token("acme"),
        platform.connect_token("acme"),
        platform.open_api_token(),
        platform.webhook_token("acme"),
    ]
    assert ask("GET", "acme", USERS, token).status_code == 200
    for other in refused:
        assert ask("GET", "acme", USERS, other).status_code == 401
    assert ask("GET", "acme", USERS).status_code == 401


def test_an_apps_token_opens_its_own_organization_only(server, ask, token):
    server.platform.organization("globex")
    assert ask("GET", "globex", USERS, token).status_code == 401
    assert ask("GET", None, USERS, token).status_code == 401


@pytest.mark.parametrize("path", [USERS, "/openapi/v1/users"])
def test_root_host_shows_the_developers_organization(server, ask, path):
    users = ask("GET", None, path, server.platform.open_api_token()).json()["data"]
    assert [user["email"] for user in users] == ["admin@developer.example"]


def test_open_api_path_is_not_on_organization_hosts(ask, token):
    assert ask("GET", "acme", "/openapi/v1/users", token).status_code == 404


def test_credential_is_judged_before_the_body(ask, token):
    assert ask("POST", "acme", USERS, "nonsense", content=b"{").status_code == 401


def test_unknown_method_and_path_answer_json(ask, token):
    assert ask("TRACE", "acme", USERS, token).json()["error_code"] == "METHOD_NOT_ALLOWED"
    assert ask("GET", "acme", "/api/v9", token).json()["error_code"] == "NOT_FOUND"
