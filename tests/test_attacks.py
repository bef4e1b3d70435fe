"""Attacks on the door: nothing changes, and an attacker's server is never called."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from flask_orbro.state import get_state

from .conftest import bearer
from .world import CONNECT_PATH, KINDS, USER_PATH, USERS_PATH, World, is_problem, webhook_token

OWN_SECRET = "attackers-own-secret-0123456789-0123456789"
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


@both_modes
def test_a_webhook_signed_with_a_claimed_but_unproven_secret_is_refused(
    make_world: Callable[..., World], testing: bool
) -> None:
    world = make_world(TESTING=testing)
    organizations, _ = world.everything()
    for subdomain in ("acme", "evil", None):
        claim = {"organization_id": world.organization_id, "shared_secret": OWN_SECRET}
        claim |= {"subdomain": subdomain} if subdomain else {}
        assert world.client.post("/installed", json=claim).status_code in (200, 503)
        answer = world.deliver(webhook_token(OWN_SECRET, world.organization_id))
        assert answer.status_code in (401, 503)
    assert world.everything()[0] == organizations
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


def test_an_organization_that_nobody_proved_is_no_organization(make_world: Callable[..., World]) -> None:
    world = make_world(install=False)
    claim = {"organization_id": world.organization_id, "shared_secret": OWN_SECRET, "subdomain": "acme"}
    assert world.client.post("/installed", json=claim).status_code == 200
    is_problem(world.deliver(webhook_token(OWN_SECRET, world.organization_id)), 401)
    assert world.get("/user", world.platform.user_token("acme")).status_code in (401, 503)
    assert world.everything()[0] == []


def _attackers_claim(world: World, organization_id: str, subdomain: str) -> dict[str, str]:
    """A claim of somebody who installed the app with a secret of his own, which the platform accepts."""
    own = world.stored(world.platform.organization("evil").id)
    assert own is not None
    return {
        "organization_id": organization_id,
        "shared_secret": OWN_SECRET,
        "user_id": own.installed_user_id or "",
        "subdomain": subdomain,
    }


def test_the_owner_of_one_organization_cannot_install_for_another(make_world: Callable[..., World]) -> None:
    # The attacker is a customer too: the platform accepts this secret, at the attacker's own subdomain.
    world = make_world()
    world.install("evil", shared_secret=OWN_SECRET)
    before = world.stored()
    for subdomain in ("evil", "acme"):
        claim = _attackers_claim(world, world.organization_id, subdomain)
        questions = world.asked(CONNECT_PATH)
        assert world.client.post("/installed", json=claim).status_code == 200
        assert world.asked(CONNECT_PATH) == questions + 1
    assert world.stored() == before
    is_problem(world.deliver(webhook_token(OWN_SECRET, world.organization_id)), 401)


def test_the_owner_of_one_organization_cannot_install_for_one_that_nobody_installed(
    make_world: Callable[..., World],
) -> None:
    world = make_world(install=False)
    world.install("evil", shared_secret=OWN_SECRET)
    claim = _attackers_claim(world, world.organization_id, "evil")
    assert world.client.post("/installed", json=claim).status_code == 200
    assert world.stored() is None
    is_problem(world.deliver(webhook_token(OWN_SECRET, world.organization_id)), 401)
    assert world.stored(world.platform.organization("evil").id).bound_subdomain == "evil"


def test_the_owner_of_one_organization_cannot_take_anothers_subdomain(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.install("evil", shared_secret=OWN_SECRET)
    evil = world.platform.organization("evil").id
    claim = _attackers_claim(world, evil, "acme")
    assert world.client.post("/installed", json=claim).status_code == 200
    assert (world.stored().bound_subdomain, world.stored(evil).bound_subdomain) == ("acme", "evil")


@both_modes
def test_an_uninstall_while_the_platform_still_accepts_changes_nothing(
    make_world: Callable[..., World], testing: bool
) -> None:
    world = make_world(TESTING=testing)
    before = world.stored()
    for _ in range(3):
        answer = world.client.post("/uninstalled", json={"organization_id": world.organization_id})
        assert answer.status_code == 200
    after = world.stored()
    assert (after.state, after.shared_secret, after.bound_subdomain, after.installed_user_id) == (
        before.state,
        before.shared_secret,
        before.bound_subdomain,
        before.installed_user_id,
    )
    assert world.get("/users", world.platform.user_token("acme")).status_code == 200
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 401, "body": "<h1>No</h1>"}, {"drop": True}])
def test_an_uninstall_while_the_platform_is_down_changes_nothing(
    make_world: Callable[..., World], fault: dict[str, Any]
) -> None:
    world = make_world()
    world.platform.faults.set("/api/v1/connect-auth", **fault)
    answer = world.client.post("/uninstalled", json={"organization_id": world.organization_id})
    assert answer.status_code == 200
    world.platform.faults.clear()
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200
    assert world.get("/users", world.platform.user_token("acme")).status_code == 200


def test_disabled_is_hearsay(make_world: Callable[..., World]) -> None:
    world = make_world()
    answer = world.client.post("/disabled", json={"organization_id": world.organization_id})
    assert answer.status_code == 200
    assert world.get("/user", world.platform.user_token("acme")).status_code == 200
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_of_one_organization_is_nobody_in_another(make_world: Callable[..., World], kind: str) -> None:
    world = make_world(kind=kind)
    world.install("other")
    for path, token in (
        ("/user", world.platform.user_token("acme")),
        ("/connect", world.platform.connect_token("acme")),
        ("/users", world.platform.user_token("acme")),
    ):
        assert world.get(path, token).status_code == 200
        is_problem(world.get(path, token, origin=world.origin("other")), 401)
        answer = world.client.get(path, headers=bearer(token) | {"sub": "other"})
        is_problem(answer, 401)


def test_a_platform_that_tells_of_another_organization_is_not_believed(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.install("other")
    body = {"id": "i", "uuid": "u", "role": "HQ", "status": "A", "scope": ""}
    body["organization_id"] = world.platform.organization("other").id
    world.platform.faults.set("/api/v1/connect-auth", status=200, body=body)
    answer = world.get("/connect", world.platform.connect_token("acme"))
    assert is_problem(answer, 403)["code"] == "wrong_organization"


def test_a_webhook_of_one_organizations_secret_cannot_name_another(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.install("evil", shared_secret=OWN_SECRET)
    victim = world.organization_id
    claims: list[dict[str, Any]] = [
        {},
        {"sub": f"uuid:{world.stored().installed_user_id}"},
        {"sub": f"organizationId:{victim.upper()}"},
        {"sub": f"organizationId: {victim}"},
        {"sub": victim},
        {"sub": None},
        {"sub": [f"organizationId:{victim}"]},
        {"sub": f"organizationId:{victim}\x00"},
    ]
    for changed in claims:
        is_problem(world.deliver(webhook_token(OWN_SECRET, victim, **changed)), 401)
    evil = world.platform.organization("evil").id
    assert world.deliver(webhook_token(OWN_SECRET, evil)).json["organization"] == evil


def test_a_body_cannot_name_another_organization_than_its_token(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.install("evil", shared_secret=OWN_SECRET)
    evil = world.platform.organization("evil").id
    answer = world.deliver(webhook_token(OWN_SECRET, evil), json={"organization_id": world.organization_id})
    assert answer.json["organization"] == evil


def test_app_tokens_replayed_against_the_app_open_nothing(make_world: Callable[..., World]) -> None:
    # Whoever runs a proxy before the platform sees them.
    world = make_world()
    world.get("/users", world.platform.user_token("acme"))
    shown = {token.partition(" ")[2] for path, token in world.seen if path in (USERS_PATH,)}
    minted = [token for token in shown if jwt.decode(token, options={"verify_signature": False})["iss"]]
    assert minted
    questions = world.asked(USER_PATH)
    for token in minted:
        is_problem(world.get("/user", token), 401)
        is_problem(world.get("/users", token), 401)
        is_problem(world.get("/open", token), 401)
        is_problem(world.deliver(token), 401)
    assert world.asked(USER_PATH) == questions


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_a_webhook_cannot_choose_its_algorithm(make_world: Callable[..., World], algorithm: str) -> None:
    secret = "s" * 64
    world = make_world(install=False)
    world.install(shared_secret=secret)
    claims = {
        "issued_by": "meta-platform-webhook",
        "sub": f"organizationId:{world.organization_id}",
        "exp": int(time.time()) + 60,
    }
    assert world.deliver(jwt.encode(claims, secret, algorithm="HS256")).status_code == 200
    key = None if algorithm == "none" else secret
    is_problem(world.deliver(jwt.encode(claims, key, algorithm=algorithm)), 401)


def test_a_flood_of_forged_installs_keeps_no_genuine_one_out(make_world: Callable[..., World]) -> None:
    world = make_world(install=False, ORBRO_MAX_WAITING_CLAIMS=5, ORBRO_MAX_CLAIMS_PER_ORGANIZATION=2)
    for number in range(12):
        claim = {"organization_id": f"o{number % 4}", "shared_secret": f"{number:0>40}"}
        claim |= {"subdomain": "nowhere"} if number % 2 else {}
        assert world.client.post("/installed", json=claim).status_code in (200, 503)
    assert get_state(world.app).claims.count() <= 5
    world.install()
    assert world.get("/user", world.platform.user_token("acme")).status_code == 200
