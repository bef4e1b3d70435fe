"""What the simulator does to apps."""

from __future__ import annotations

import threading

import jwt
import pytest

from flask_orbro.simulator import Platform, SimulatorError

CONNECT = "/api/v1/connect-auth/token"
EVENT = "device:device_updated"


def test_install_sends_what_the_protocol_says(server, app):
    outcome = server.platform.install(app.url, "Acme", "client-1")
    organization = server.platform.organization("acme")
    path, body, authorization = app.received[0]
    assert (outcome.ok, outcome.status, outcome.body) == (True, 200, {"detail": "success"})
    assert outcome.elapsed > 0
    assert (path, authorization) == ("/installed", None)
    assert body["organization_id"] == organization.id
    assert body["subdomain"] == "acme"
    assert body["user_id"] in organization.users
    assert len(body["shared_secret"]) >= 32
    assert server.platform.installation("acme").client_id == "client-1"


def test_optional_fields_can_be_left_out(server, app):
    server.platform.install(app.url, "acme", send_subdomain=False, send_user=False)
    assert set(app.received[0][1]) == {"shared_secret", "organization_id"}


@pytest.mark.parametrize(("activate", "during"), [("before", 200), ("after", 401)])
def test_secret_counts_before_or_after_the_answer(server, app, ask, mint, activate, during):
    server.platform.organization("acme")
    asked = []

    def prove(path, body):
        asked.append(ask("GET", "acme", CONNECT, mint(body["shared_secret"])).status_code)
        return {}

    app.answer = prove
    server.platform.install(app.url, "acme", activate=activate)
    assert asked == [during]
    assert ask("GET", "acme", CONNECT, mint(app.secrets()[0])).status_code == 200


@pytest.mark.parametrize("activate", ["before", "after"])
def test_reinstall_rotates_the_secret_at_once(server, app, ask, mint, activate):
    for _ in range(2):
        server.platform.install(app.url, "acme", activate=activate)
    old, new = app.secrets()
    assert old != new
    assert ask("GET", "acme", CONNECT, mint(old)).status_code == 401
    assert ask("GET", "acme", CONNECT, mint(new)).status_code == 200


@pytest.mark.parametrize("activate", ["before", "after"])
@pytest.mark.parametrize("status", [302, 400, 500])
def test_refused_install_keeps_the_old_one(server, app, ask, mint, activate, status):
    server.platform.install(app.url, "acme")
    app.answer = lambda path, body: ({"detail": "no"}, status)
    outcome = server.platform.install(app.url, "acme", activate=activate)
    assert (outcome.ok, outcome.status) == (False, status)
    old, new = app.secrets()
    assert ask("GET", "acme", CONNECT, mint(old)).status_code == 200
    assert ask("GET", "acme", CONNECT, mint(new)).status_code == 401


def test_refused_first_install_leaves_nothing(server, app):
    app.answer = lambda path, body: ({}, 400)
    server.platform.install(app.url, "acme")
    with pytest.raises(SimulatorError, match="not installed"):
        server.platform.installation("acme")


def test_install_that_cannot_be_made_keeps_the_old_one(app, ask, mint, server):
    platform = Platform(app_timeout=0.2)
    organization = platform.organization("acme")
    platform.install(app.url, "acme")
    release = threading.Event()
    app.answer = lambda path, body: {"late": release.wait(5)}
    with pytest.raises(SimulatorError, match="failed"):
        platform.install(app.url, "acme")
    release.set()
    old, new = app.secrets()
    assert platform.check_connect_token(organization, mint(old))
    with pytest.raises(Exception, match="not valid"):
        platform.check_connect_token(organization, mint(new))


def test_two_apps_live_beside_each_other(server, app, ask, mint):
    server.platform.install(app.url, "acme", "client-1")
    server.platform.install(f"{app.url}/second/..", "acme", "client-2")
    first, second = app.secrets()
    assert ask("GET", "acme", CONNECT, mint(first, iss="client-1")).status_code == 200
    assert ask("GET", "acme", CONNECT, mint(second, iss="client-2")).status_code == 200
    assert ask("GET", "acme", CONNECT, mint(second, iss="client-1")).status_code == 401
    with pytest.raises(SimulatorError, match="several apps"):
        server.platform.installation("acme")


@pytest.mark.parametrize(
    "descriptor",
    [[], {}, {"lifecycle": None}, {"lifecycle": []}, {"lifecycle": {"installed": 1}}],
    ids=str,
)
def test_unusable_descriptor_is_named(server, app, descriptor):
    app.descriptor = descriptor
    with pytest.raises(SimulatorError, match=r"connect\.json"):
        server.platform.install(app.url, "acme")
    assert app.received == []


def test_app_that_is_not_there_is_named(server):
    with pytest.raises(SimulatorError, match=r"http://127\.0\.0\.1:9/connect\.json failed"):
        server.platform.install("http://127.0.0.1:9", "acme")


@pytest.mark.parametrize("url", ["", "127.0.0.1:5000", "file:///etc", "http://", "http://[", "http://h?a=1"])
def test_app_url_is_checked(server, url):
    with pytest.raises(SimulatorError, match="app_url"):
        server.platform.install(url, "acme")


@pytest.mark.parametrize("name", ["", "a.b", "-a", "a_b", "a" * 64, "ä"])
def test_organization_name_is_one_label(server, name):
    with pytest.raises(SimulatorError, match="DNS label"):
        server.platform.organization(name)


def test_uninstall_revokes_the_secret_before_it_tells_the_app(server, app, ask, mint):
    server.platform.install(app.url, "acme")
    token = mint(app.secrets()[0])
    asked = []
    app.answer = lambda path, body: [asked.append(ask("GET", "acme", CONNECT, token).status_code)]
    server.platform.uninstall(app.url, "acme")
    organization = server.platform.organization("acme")
    assert app.received[-1][:2] == ("/uninstalled", {"organization_id": organization.id})
    assert asked == [401]


def test_uninstall_may_keep_the_secret(server, app, ask, mint):
    server.platform.install(app.url, "acme")
    assert server.platform.uninstall(None, "acme", revoke=False).ok
    assert ask("GET", "acme", CONNECT, mint(app.secrets()[0])).status_code == 200


def test_uninstalled_app_can_be_installed_again(server, app, ask, mint):
    server.platform.install(app.url, "acme")
    server.platform.uninstall(app.url, "acme")
    server.platform.install(app.url, "acme")
    assert ask("GET", "acme", CONNECT, mint(app.secrets()[1])).status_code == 200


def test_enable_and_disable_tell_the_app(server, app):
    server.platform.install(app.url, "acme")
    server.platform.disable(app.url, "acme")
    assert not server.platform.installation("acme").enabled
    server.platform.enable(app.url, "acme")
    assert server.platform.installation("acme").enabled
    assert [path for path, _, _ in app.received] == ["/installed", "/disabled", "/enabled"]


def test_webhook_goes_where_the_descriptor_says(server, app):
    server.platform.install(app.url, "acme")
    outcome = server.platform.webhook("acme", EVENT, {"id": 7})
    path, body, authorization = app.received[-1]
    organization_id = server.platform.organization("acme").id
    assert outcome.ok
    assert outcome.url == f"{app.url}/webhook/device"
    assert path == "/webhook/device"
    assert body == {"event_name": EVENT, "organization_id": organization_id, "data": {"id": 7}}
    claims = jwt.decode(authorization.split()[1], app.secrets()[0], algorithms=["HS256"])
    assert claims["sub"] == f"organizationId:{organization_id}"


def test_webhook_options(server, app):
    server.platform.install(app.url, "acme")
    outcome = server.platform.webhook("acme", "x", path="/any", token="t", payload=[1])
    assert outcome.ok
    assert app.received[-1] == ("/any", [1], "Bearer t")


def test_unregistered_webhook_is_an_error(server, app):
    server.platform.install(app.url, "acme")
    with pytest.raises(SimulatorError, match="no webhook registered"):
        server.platform.webhook("acme", "no:such")


def test_uninstalled_app_gets_a_webhook_by_force_only(server, app):
    server.platform.install(app.url, "acme")
    server.platform.uninstall(app.url, "acme")
    with pytest.raises(SimulatorError, match="no longer installed"):
        server.platform.webhook("acme", EVENT)
    assert server.platform.webhook("acme", EVENT, force=True).ok


def test_organizations_are_the_same_in_every_run():
    assert Platform().organization("acme").id == Platform().organization("acme").id
    assert Platform().organization("acme").id != Platform().organization("globex").id


def test_secrets_stay_out_of_representations(server, app):
    server.platform.install(app.url, "acme", client_secret="hush-hush")
    shown = repr(server.platform.installation("acme"))
    assert app.secrets()[0] not in shown
    assert "hush-hush" not in shown
