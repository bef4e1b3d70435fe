"""The control API."""

from __future__ import annotations

import json
import re

import httpx2
import jwt
import pytest

EVENT = "device:device_updated"


@pytest.fixture
def installed(control, app):
    fields = {"organization": "acme", "app_url": app.url, "client_id": "client-1"}
    assert control("POST", "/simulator/install", **fields).status_code == 200


def test_index_says_what_this_is(control):
    for path in ("/", "/simulator"):
        shown = control("GET", path).json()
        assert "never expose it" in shown["about"]
        assert "POST /simulator/install" in shown["endpoints"]


def test_install_reports_the_apps_answer(control, app):
    answer = control("POST", "/simulator/install", organization="acme", app_url=app.url).json()
    assert (answer["ok"], answer["status"], answer["url"]) == (True, 200, f"{app.url}/installed")
    assert answer["body"] == {"detail": "success"}


def test_refusal_of_the_app_is_reported_not_an_error(control, app):
    app.answer = lambda path, body: ("no", 400)
    answer = control("POST", "/simulator/install", organization="acme", app_url=app.url)
    assert answer.status_code == 200
    assert (answer.json()["ok"], answer.json()["body"]) == (False, "no")


def test_whole_lifecycle(control, app, installed):
    for action in ("disable", "enable", "uninstall"):
        fields = {"organization": "acme", "client_id": "client-1"}
        assert control("POST", f"/simulator/{action}", **fields).json()["ok"]
    paths = [path for path, _, _ in app.received]
    assert paths == ["/installed", "/disabled", "/enabled", "/uninstalled"]


def test_webhook(control, app, installed):
    fields = {"organization": "acme", "event": EVENT, "data": {"id": 1}}
    answer = control("POST", "/simulator/webhook", **fields)
    assert answer.json()["ok"]
    assert app.received[-1][1]["data"] == {"id": 1}


def test_the_page_of_tokens_is_marked_and_its_tokens_are_good(server, control, installed):
    answer = control("GET", "/simulator/tokens?organization=Acme")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "For development only" in answer.text
    assert f"http://acme.{server.platform_host}" in answer.text
    shown = dict(re.findall(r'<code id="(\w+)">Bearer ([\w.-]+)</code>', answer.text))
    assert set(shown) == {"orbroUser", "orbroConnectApp", "orbroOpenApi", "orbroWebhook", "entra"}
    platform = server.platform
    acme = platform.organization("acme")
    assert platform.check_user_token(acme, shown["orbroUser"])
    assert platform.check_connect_token(acme, shown["orbroConnectApp"])
    assert platform.check_open_api_token(shown["orbroOpenApi"])
    claims = jwt.decode(shown["orbroWebhook"], options={"verify_signature": False})
    assert claims["sub"] == f"organizationId:{acme.id}"


def test_the_page_of_tokens_tells_what_is_missing_before_the_install(control):
    shown = control("GET", "/simulator/tokens").text
    assert shown.count("<code") == 4
    assert "acme" in shown.partition("orbroWebhook")[2]


def test_the_page_of_tokens_shows_no_foreign_markup(control):
    for query in ("organization=<b>", "app_url=<script>"):
        answer = control("GET", f"/simulator/tokens?{query}")
        assert "<script>" not in answer.text
        assert answer.status_code == (400 if "<b>" in query else 200)


@pytest.mark.parametrize("kind", ["user", "connect", "open-api", "webhook", "entra"])
def test_tokens(server, control, installed, kind):
    answer = control("POST", "/simulator/tokens", kind=kind, organization="acme").json()
    owner = "developer" if kind == "open-api" else "acme"
    assert answer["token"].count(".") == 2
    assert answer["origin"] == f"http://{owner}.{server.platform_host}"


def test_token_can_be_made_expired(server, control, ask):
    fields = {"kind": "user", "organization": "acme", "expires_in": -5}
    token = control("POST", "/simulator/tokens", **fields).json()["token"]
    assert ask("GET", "acme", "/api/v1/auth", token).json()["error_code"] == "TOKEN_EXPIRED"


def test_faults_are_switched_on_and_off(control, ask):
    control("POST", "/simulator/organizations", organization="acme")
    fields = {"prefix": "/api", "status": 503, "headers": {"Retry-After": "1"}, "delay": 0}
    assert control("PUT", "/simulator/faults", **fields).json()["status"] == 503
    assert ask("GET", "acme", "/api/v1/auth").status_code == 503
    assert control("DELETE", "/simulator/faults?organization=acme").status_code == 204
    assert ask("GET", "acme", "/api/v1/auth").status_code == 503
    assert control("DELETE", "/simulator/faults?prefix=/api").status_code == 204
    assert ask("GET", "acme", "/api/v1/auth").status_code == 401


def test_state_and_requests_hold_no_secret(server, app, control, ask, installed):
    token = server.platform.user_token("acme")
    ask("GET", "acme", "/api/v1/auth", token)
    shown = control("GET", "/simulator/state").text + control("GET", "/simulator/requests").text
    assert app.secrets()[0] not in shown
    assert token not in shown
    assert '"client_id":"client-1"' in shown
    assert control("DELETE", "/simulator/requests").status_code == 204
    assert control("GET", "/simulator/requests").json() == {"data": []}


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("install", {"app_url": "http://h"}, "organization"),
        ("install", {"organization": "acme"}, "app_url"),
        ("install", {"organization": "a.b", "app_url": "http://h"}, "organization"),
        ("install", {"organization": "acme", "app_url": 5}, "app_url"),
        ("install", {"organization": "acme", "app_url": "h"}, "app_url"),
        ("install", {"organization": "acme", "app_url": "http://h", "send_user": 1}, "send_user"),
        ("install", {"organization": "acme", "app_url": "http://h", "activate": "x"}, "activate"),
        ("install", {"organisation": "acme"}, "organisation"),
        ("uninstall", {"revoke": "no"}, "revoke"),
        ("webhook", {"organization": "acme"}, "event"),
        ("webhook", {"organization": "acme", "event": "e", "expires_in": "1"}, "expires_in"),
        ("tokens", {"organization": "acme"}, "kind"),
        ("tokens", {"organization": "acme", "kind": "x"}, "kind"),
        ("tokens", {"organization": "acme", "kind": "user", "expires_in": 1e30}, "expires_in"),
        ("tokens", {"organization": "acme", "kind": "user", "expires_in": 10**400}, "expires_in"),
        ("tokens", {"organization": "acme", "kind": "user", "expires_in": True}, "expires_in"),
        ("organizations", {"organization": None}, "organization"),
    ],
    ids=str,
)
def test_bad_input_names_the_field(control, path, fields, field):
    answer = control("POST", f"/simulator/{path}", **fields)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert field in answer.json()["message"]


@pytest.mark.parametrize(
    "fields", [{"status": 99}, {"status": True}, {"delay": "1"}, {"headers": []}, {"times": 1.5}]
)
def test_bad_fault_names_the_field(control, fields):
    answer = control("PUT", "/simulator/faults", **fields)
    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(fields)))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": NaN}'])
def test_body_must_be_an_object(server, content):
    answer = httpx2.post(f"{server.url}/simulator/install", content=content, trust_env=False)
    assert answer.status_code == 400


def test_lone_surrogates_are_refused(server):
    content = json.dumps({"organization": "acme", "app_url": "http://h", "client_id": "\ud800"})
    answer = httpx2.post(f"{server.url}/simulator/install", content=content, trust_env=False)
    assert (answer.status_code, answer.json()["field"]) == (400, "client_id")


def test_impossible_wishes_are_a_conflict(control, installed):
    answer = control("POST", "/simulator/webhook", organization="acme", event="no:such")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "IMPOSSIBLE")
    answer = control("POST", "/simulator/enable", organization="acme", client_id="other")
    assert answer.status_code == 409
    fields = {"kind": "user", "organization": "acme", "email": "nobody@acme.example"}
    assert control("POST", "/simulator/tokens", **fields).status_code == 409


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://a b", "http://127.0.0.1:99999"])
def test_unreachable_app_is_a_bad_gateway(control, url):
    answer = control("POST", "/simulator/install", organization="acme", app_url=url)
    assert (answer.status_code, answer.json()["error_code"]) == (502, "APP_CALL_FAILED")


@pytest.mark.parametrize("host", ["evil.example", "acme.orbro.localhost", "127.0.0.1.evil.example"])
def test_foreign_hosts_cannot_drive_it(server, host):
    headers = {"Host": host}
    answer = httpx2.get(f"{server.url}/simulator/state", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "FOREIGN_HOST")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "orbro.localhost", "127.9.9.9"])
def test_local_hosts_can_drive_it(server, host):
    headers = {"Host": f"{host}:{server.port}", "Origin": f"http://{host}:{server.port}"}
    answer = httpx2.get(f"{server.url}/simulator/state", headers=headers, trust_env=False)
    assert answer.status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:1"])
def test_foreign_pages_cannot_drive_it(server, origin):
    headers = {"Origin": origin}
    answer = httpx2.get(f"{server.url}/simulator/state", headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "FOREIGN_ORIGIN")
