"""Installs, from the platform's call to an organization that is served."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from flask import Flask

from flask_orbro import app_installed
from flask_orbro.installation import State
from flask_orbro.protocol import CONNECT_PATH
from flask_orbro.state import get_state

from ..conftest import CLIENT_ID
from ..lifecycle_world import FORGED, MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401


def test_an_install_is_proven_and_then_serves_users_webhooks_and_calls(world: World) -> None:
    assert world.me() == 401
    outcome = world.install()
    assert (outcome.status, outcome.body) == (200, {"status_code": 200, "detail": "success"})
    stored = world.stored
    assert stored is not None
    assert (stored.state, stored.bound_subdomain) == (State.ACTIVE, "acme")
    assert (world.waiting, world.me(), world.webhook()) == (0, 200, 200)
    with world.app.app_context():
        assert world.state.platform.client_for(world.organization_id).get("/api/v1/users").status_code == 200
    assert world.signals == [("app-installed", world.organization_id)]


def test_the_same_install_twice_is_one_and_is_not_asked_about(world: World) -> None:
    world.install(shared_secret="s" * 40)
    before, asked = world.stored, world.platform.counts[CONNECT_PATH]
    for _ in range(3):
        assert world.install(shared_secret="s" * 40).status == 200
    assert world.stored == before
    assert world.platform.counts[CONNECT_PATH] == asked
    assert len(world.signals) == 1


def test_an_install_that_counts_only_after_our_answer_is_proven_by_the_sweep(world: World) -> None:
    assert world.install(activate="after").status == 200
    assert (world.stored, world.waiting, world.signals) == (None, 1, [])
    world.sweep()  # not due yet
    assert world.stored is None
    due = world.sweep(after=1.1)
    assert (world.waiting, due, world.me()) == (0, None, 200)


@pytest.mark.parametrize("need", ["webhook", "me"])
def test_an_install_that_waits_is_asked_about_when_it_is_needed(world: World, need: str) -> None:
    world.install(activate="after")
    time.sleep(1.05)  # a request asks about what is due
    assert getattr(world, need)() == 200
    assert world.waiting == 0


def test_a_rotated_secret_replaces_the_old_one_which_stays_good_for_webhooks_for_a_while(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_PREVIOUS_SECRET_WINDOW=0.5)
    world.install()
    old_token = world.platform.webhook_token("acme", world.url)
    assert world.install().status == 200
    assert (world.webhook(), world.webhook(token=old_token), world.me()) == (200, 200, 200)
    time.sleep(0.55)
    assert (world.webhook(), world.webhook(token=old_token)) == (200, 401)
    assert len(world.signals) == 2


def test_a_reinstall_that_counts_after_our_answer_changes_over_without_a_gap(world: World) -> None:
    world.install()
    old = world.stored
    world.install(activate="after")
    assert world.stored is not None
    assert world.stored.shared_secret == old.shared_secret  # type: ignore[union-attr]
    assert world.webhook() == 200  # the platform signs with the new secret already
    assert world.stored.shared_secret != old.shared_secret  # type: ignore[union-attr]


def test_a_missing_subdomain_and_user_are_the_stored_ones(world: World) -> None:
    world.install()
    before = world.stored
    assert world.install(send_subdomain=False, send_user=False).status == 200
    after = world.stored
    assert before is not None
    assert after is not None
    assert after.shared_secret != before.shared_secret
    assert (after.bound_subdomain, after.installed_user_id) == ("acme", before.installed_user_id)


def test_a_first_install_without_a_subdomain_waits_for_an_operator(world: World) -> None:
    assert world.install(send_subdomain=False).status == 200
    world.sweep()
    assert (world.stored, world.waiting, len(world.platform.requests)) == (None, 1, 0)


def test_a_secret_of_one_organization_is_no_proof_for_another(world: World) -> None:
    world.install(subdomain="evil", shared_secret="e" * 40)
    world.install()
    before = world.stored
    assert world.forge(shared_secret="e" * 40, subdomain="evil").status_code == 200
    world.sweep(after=2)
    assert world.stored == before
    # Nor does it make an organization of what was never installed.
    world.forge(organization_id="made-up", shared_secret="e" * 40, subdomain="evil")
    world.sweep(after=2)
    assert world.state.organizations.get("made-up") is None
    assert world.state.organizations.bound_to("evil").organization_id != "made-up"  # type: ignore[union-attr]


@pytest.mark.parametrize("known", [True, False])
def test_a_forged_install_changes_nothing(world: World, known: bool) -> None:
    if known:
        world.install()
    before = world.stored
    for body in ({}, {"subdomain": None}, {"user_id": "attacker"}, {"subdomain": "other"}):
        assert world.forge(**body).status_code == 200
    for _ in range(3):
        world.sweep(after=10)
    assert world.stored == before
    assert world.me() == (200 if known else 401)
    assert len(world.signals) == known


def test_while_the_platform_is_down_an_install_waits_and_is_proven_later(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, drop=True)
    assert world.install().status == 200
    assert (world.stored, world.waiting) == (None, 1)
    world.sweep(after=2)
    assert world.waiting == 1
    world.platform.faults.clear()
    world.sweep(after=10)
    assert (world.waiting, world.me()) == (0, 200)


def test_a_slow_platform_does_not_hold_the_caller_longer_than_a_proof_may_take(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_PROOF_TIMEOUT=0.3)
    world.platform.faults.set(CONNECT_PATH, delay=3)
    outcome = world.install()
    assert outcome.status == 200
    assert outcome.elapsed < 1.5
    assert world.waiting == 1


def test_a_signal_is_sent_after_the_change_and_a_receiver_that_raises_loses_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bool] = []

    def fails(app: Flask, organization: Any) -> None:
        stored = get_state(app).organizations.get(organization.organization_id)
        seen.append(stored is not None and stored.is_active)
        raise RuntimeError("receiver")

    with app_installed.connected_to(fails, sender=world.app):
        assert world.install().status == 200
    assert seen == [True]
    assert world.stored is not None
    assert world.stored.is_active
    assert world.signals == [("app-installed", world.organization_id)]
    assert "receiver of app-installed failed" in caplog.text.lower()


def test_an_async_receiver_is_run_and_one_that_raises_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def receives(app: Flask, organization: Any) -> None:
        await asyncio.sleep(0)
        seen.append(organization.organization_id)
        raise RuntimeError("receiver")

    with app_installed.connected_to(receives, sender=world.app):
        assert world.install().status == 200
    assert seen == [world.organization_id]
    assert "receiver of app-installed failed" in caplog.text.lower()


def test_no_secret_and_no_token_reaches_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.install(shared_secret="a-secret-" + "x" * 40)
    world.forge()
    world.platform.faults.set(CONNECT_PATH, status=500)
    world.forge(shared_secret="g" * 40)
    assert world.me() == 200
    for secret in ("a-secret-", FORGED, "g" * 40, "eyJ"):
        assert secret not in caplog.text


def test_concurrent_installs_of_many_organizations_are_all_proven(world: World) -> None:
    names = [f"org{number}" for number in range(12)]
    threads = [threading.Thread(target=world.install, kwargs={"subdomain": name}) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    world.sweep(after=5)
    assert [name for name in names if world.state.organizations.bound_to(name) is None] == []
    assert world.waiting == 0


def test_an_install_sent_twice_at_once_is_signalled_once(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, delay=0.2)
    threads = [threading.Thread(target=world.install, kwargs={"shared_secret": "s" * 40}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert world.stored is not None
    assert world.signals == [("app-installed", world.organization_id)]


def test_install_proof_none_trusts_the_first_install_and_a_different_secret_never(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_INSTALL_PROOF="none")
    assert world.forge(shared_secret="1" * 40).status_code == 200
    before = world.stored
    assert before is not None
    assert (before.is_active, before.bound_subdomain) == (True, "acme")
    for body in ({}, {"subdomain": "other"}, {"shared_secret": "1" * 40, "subdomain": "other"}):
        assert world.forge(**body).status_code == 200
    assert world.stored == before
    assert not world.platform.requests
    assert world.post("/uninstalled", organization_id=world.organization_id).status_code == 200
    # Anybody can say so: only who knows the secret can install again, and takes nobody's subdomain.
    assert world.stored.state is State.SUSPENDED  # type: ignore[union-attr]
    assert world.forge(shared_secret="2" * 40).status_code == 200
    assert world.stored.state is State.SUSPENDED  # type: ignore[union-attr]
    assert world.forge(shared_secret="1" * 40).status_code == 200
    assert world.stored.is_active  # type: ignore[union-attr]
    assert world.forge(organization_id="evil", shared_secret="3" * 40).status_code == 200
    assert world.state.organizations.bound_to("acme").organization_id == world.organization_id


def test_install_proof_none_gives_no_subdomain_to_another_while_one_is_suspended(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_INSTALL_PROOF="none")
    world.install(shared_secret="1" * 40)
    world.post("/uninstalled", organization_id=world.organization_id)
    assert world.forge(organization_id="evil", shared_secret="3" * 40).status_code == 200
    assert world.state.organizations.get("evil") is None
    world.install(shared_secret="1" * 40)
    assert (world.me(), world.webhook()) == (200, 200)


def test_the_client_id_of_the_app_is_shown_for_a_proof(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_CLIENT_ID="another")
    world.install(client_id=CLIENT_ID)
    assert (world.stored, world.waiting) == (None, 1)
