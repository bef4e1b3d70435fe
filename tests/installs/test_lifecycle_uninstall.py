"""Uninstalls, bindings, enabled and disabled, and what an operator can do."""

from __future__ import annotations

import time

import pytest

from flask_orbro import NotAllowed
from flask_orbro.installation import State
from flask_orbro.protocol import CONNECT_PATH

from ..lifecycle_world import MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401

HOUR = 3600.0


def state_of(world: World) -> State:
    assert world.stored is not None
    return world.stored.state


def test_an_uninstall_suspends_at_once_and_erases_after_the_grace(world: World) -> None:
    world.install()
    outcome = world.platform.uninstall(world.url, "acme")
    assert (outcome.status, outcome.body) == (200, None)
    assert (state_of(world), world.me()) == (State.SUSPENDED, 401)
    assert world.webhook(force=True) == 401
    with world.app.app_context(), pytest.raises(NotAllowed):
        world.state.platform.client_for(world.organization_id)
    for _ in range(4):
        world.sweep(after=HOUR / 5)
        assert state_of(world) is State.SUSPENDED
    world.sweep(after=HOUR / 5)
    assert (state_of(world), world.stored.shared_secret) == (State.UNINSTALLED, None)  # type: ignore[union-attr]
    assert [name for name, _ in world.signals] == ["app-installed", "app-uninstalled"]
    assert world.sweep(after=HOUR) is None


def test_after_an_uninstall_the_app_can_be_installed_again(world: World) -> None:
    world.install()
    world.platform.uninstall(world.url, "acme")
    world.sweep(after=HOUR)
    assert state_of(world) is State.UNINSTALLED
    world.install()
    assert (state_of(world), world.me(), world.webhook()) == (State.ACTIVE, 200, 200)


def test_an_acceptance_in_between_restores_a_suspended_organization(world: World) -> None:
    world.install()
    world.platform.uninstall(world.url, "acme")
    assert state_of(world) is State.SUSPENDED
    world.platform.change_installation("acme", world.url, active=True)
    world.sweep(after=2)
    assert (state_of(world), world.me()) == (State.ACTIVE, 200)
    world.sweep(after=HOUR)
    assert state_of(world) is State.ACTIVE
    assert [name for name, _ in world.signals] == ["app-installed"]


def test_a_user_who_comes_restores_a_suspended_organization_too(world: World) -> None:
    world.install()
    world.platform.uninstall(world.url, "acme")
    world.platform.change_installation("acme", world.url, active=True)
    world.clock.ahead += 2
    assert world.me() == 200
    assert state_of(world) is State.ACTIVE


def test_uninstall_without_proof_changes_nothing(world: World) -> None:
    world.install()
    before = world.stored
    assert world.post("/uninstalled", organization_id=world.organization_id).status_code == 200
    for _ in range(5):
        world.sweep(after=HOUR / 3)
        assert (state_of(world), world.me(), world.webhook()) == (State.ACTIVE, 200, 200)
    after = world.stored
    assert before is not None
    assert after is not None
    assert after.shared_secret == before.shared_secret
    assert (after.uninstall_requested_at, after.ask_at) == (None, None)
    assert [name for name, _ in world.signals] == ["app-installed"]


def test_a_forged_uninstall_of_an_hour_ago_does_not_count_for_a_later_refusal(world: World) -> None:
    world.install()
    world.post("/uninstalled", organization_id=world.organization_id)
    world.sweep(after=HOUR + 1)
    world.platform.change_installation("acme", world.url, active=False)
    for _ in range(4):
        world.sweep(after=2 * HOUR)
    assert state_of(world) is State.ACTIVE
    assert world.stored.shared_secret  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "fault",
    [{"drop": True}, {"status": 500}, {"status": 404}, {"status": 401, "body": "<html>"}, {"status": 204},
     {"status": 401, "body": {"error_code": "TOKEN_EXPIRED"}}, {"status": 429}, {"redirect": "http://127.0.0.1/"}],
    ids=lambda fault: "-".join(map(str, fault.values())),
)  # fmt: skip
def test_while_the_platform_refuses_nothing_plainly_an_uninstall_waits(world: World, fault: dict) -> None:
    world.install()
    world.platform.faults.set(CONNECT_PATH, **fault)
    assert world.platform.uninstall(world.url, "acme").status == 200
    for _ in range(3):
        world.sweep(after=HOUR)
        assert (state_of(world), world.stored.bound_subdomain) == (State.ACTIVE, "acme")  # type: ignore[union-attr]
    world.platform.faults.clear()
    world.sweep(after=HOUR)
    assert state_of(world) is State.SUSPENDED
    world.sweep(after=HOUR)
    assert state_of(world) is State.UNINSTALLED


def test_an_uninstall_never_drops_a_claim_that_waits(world: World) -> None:
    world.install()
    world.install(activate="after")
    assert world.waiting == 1
    assert world.post("/uninstalled", organization_id=world.organization_id).status_code == 200
    assert (world.waiting, state_of(world)) == (1, State.SUSPENDED)  # its old secret is refused by now
    world.sweep(after=2)
    assert (world.waiting, state_of(world), world.me()) == (0, State.ACTIVE, 200)
    world.sweep(after=2 * HOUR)
    assert state_of(world) is State.ACTIVE


def test_calls_about_an_organization_that_nobody_installed_for_are_404(world: World) -> None:
    for path in ("/uninstalled", "/enabled", "/disabled"):
        response = world.post(path, organization_id="nobody")
        assert (response.status_code, response.json()["code"]) == (404, "unknown_organization")
    assert world.state.organizations.get("nobody") is None
    assert not world.platform.requests


def test_an_organization_that_only_waits_is_neither_removed_nor_switched(world: World) -> None:
    world.install(activate="after")
    for path in ("/uninstalled", "/enabled", "/disabled"):
        assert world.post(path, organization_id=world.organization_id).status_code == 200
    assert (world.stored, world.waiting, world.signals) == (None, 1, [])


def test_enabled_and_disabled_are_recorded_and_signalled_and_decide_nothing(world: World) -> None:
    world.install()
    assert world.platform.disable(world.url, "acme").body == {"status_code": 200, "detail": "success"}
    assert (world.stored.enabled, world.me(), world.webhook()) == (False, 200, 200)  # type: ignore[union-attr]
    world.platform.enable(world.url, "acme")
    assert world.stored.enabled is True  # type: ignore[union-attr]
    assert [name for name, _ in world.signals] == ["app-installed", "app-disabled", "app-enabled"]


def test_disabled_counts_where_the_setting_says_so(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_TRUST_ENABLED_DISABLED=True)
    world.install()
    world.platform.disable(world.url, "acme")
    assert (world.me(), world.webhook()) == (403, 403)
    with world.app.app_context(), pytest.raises(NotAllowed, match="disabled"):
        world.state.platform.client_for(world.organization_id)
    world.platform.enable(world.url, "acme")
    assert (world.me(), world.webhook()) == (200, 200)


def test_a_binding_is_proven_again_on_use_once_it_is_old(world: World) -> None:
    world.install()
    asked = world.platform.counts[CONNECT_PATH]
    for _ in range(3):
        assert world.me() == 200
    assert world.platform.counts[CONNECT_PATH] == asked
    world.clock.ahead += HOUR + 1
    for _ in range(3):
        assert world.me() == 200
    assert world.platform.counts[CONNECT_PATH] == asked + 1


def test_a_binding_that_the_platform_refuses_stops_users_and_calls_until_it_is_proven(world: World) -> None:
    world.install()
    world.platform.change_installation("acme", world.url, active=False)
    world.clock.ahead += HOUR + 1
    assert world.me() == 401
    stored = world.stored
    assert stored is not None
    assert (stored.state, stored.bound_subdomain, bool(stored.shared_secret)) == (State.ACTIVE, None, True)
    with world.app.app_context(), pytest.raises(NotAllowed):
        world.state.platform.client_for(world.organization_id)
    world.platform.change_installation("acme", world.url, active=True)
    world.sweep(after=5)
    assert world.me() == 200


def test_an_outage_does_not_take_a_binding(world: World) -> None:
    world.install()
    world.platform.faults.set(CONNECT_PATH, status=503)
    world.clock.ahead += HOUR + 1
    assert world.me() == 200
    assert world.stored.bound_subdomain == "acme"  # type: ignore[union-attr]


def test_a_proven_install_takes_a_subdomain_over_and_the_other_is_asked_about(world: World) -> None:
    """Two organizations with one subdomain cannot both be right; the last word of the platform counts."""
    world.install()
    claimed = {"organization_id": "other", "shared_secret": "o" * 40, "subdomain": "acme"}
    world.platform.faults.set(
        CONNECT_PATH,
        body={"id": "i", "uuid": "u", "organization_id": "other", "role": "HQ", "status": "x", "scope": ""},
        times=1,
    )
    assert world.post("/installed", **claimed).status_code == 200
    assert world.state.organizations.bound_to("acme").organization_id == "other"  # type: ignore[union-attr]
    loser = world.stored
    assert loser is not None
    assert (loser.state, loser.bound_subdomain, loser.ask_at) == (State.ACTIVE, None, 0)
    world.sweep()  # the platform accepts the first one at this subdomain: it takes it back
    assert world.stored.bound_subdomain == "acme"  # type: ignore[union-attr]
    other = world.state.organizations.get("other")
    assert other is not None
    assert other.bound_subdomain is None
    world.sweep(after=1)
    assert world.state.organizations.get("other").bound_subdomain is None  # type: ignore[union-attr]
    assert world.me() == 200


def test_an_operator_approves_and_removes_on_his_own_word(world: World) -> None:
    world.install(send_subdomain=False)
    (claim,) = world.state.claims.of_organization(world.organization_id)
    after = world.state.lifecycle.approve(claim, subdomain="acme")
    assert after is not None
    assert (after.is_active, after.bound_subdomain, world.waiting) == (True, "acme", 0)
    assert (world.me(), world.webhook()) == (200, 200)
    world.forge()
    removed = world.state.lifecycle.remove(world.organization_id)
    assert removed is not None
    assert (removed.state, removed.shared_secret, removed.bound_subdomain) == (State.UNINSTALLED, None, None)
    assert (world.waiting, world.me()) == (0, 401)
    assert [name for name, _ in world.signals] == ["app-installed", "app-uninstalled"]
    world.state.lifecycle.remove(world.organization_id)
    assert len(world.signals) == 2
    assert world.state.lifecycle.remove("nobody") is None


def test_claims_that_are_never_proven_are_forgotten_in_the_end(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_CLAIM_MAX_AGE=60)
    world.forge()
    assert world.waiting == 1
    world.sweep(after=61)
    assert world.waiting == 0


def test_an_answer_that_a_new_install_overtakes_says_nothing_about_it(world: World) -> None:
    """A refusal of the old secret must not suspend the organization that has a new one by then."""
    world.install()
    stale = world.stored
    assert stale is not None
    world.install()
    time.sleep(0.01)
    after = world.state.inquiry.check(stale)
    assert after.shared_secret == world.stored.shared_secret  # type: ignore[union-attr]
    assert (after.state, after.bound_subdomain) == (State.ACTIVE, "acme")
