"""Forgetting an organization: by a command, and when its retention ends."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_orbro import app_erased
from flask_orbro.cli import orbro
from flask_orbro.installation import State
from flask_orbro.platform import ConnectAppToken

from ..lifecycle_world import MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401

DAY = 86_400


def erase(world: World, organization_id: str | None = None) -> str:
    arguments = ["erase", organization_id or world.organization_id]
    return world.app.test_cli_runner().invoke(orbro, arguments).output


def uninstall(world: World) -> None:
    world.platform.uninstall(world.url, "acme")
    world.sweep()
    world.sweep(after=4000)
    assert world.stored is not None
    assert world.stored.state is State.UNINSTALLED


def token_is_kept(world: World) -> bool:
    return world.state.platform.tokens.store.get_token(world.organization_id) is not None


def test_erase_forgets_everything_and_tells_what(world: World) -> None:
    world.install()
    world.forge()
    with world.app.app_context():
        assert world.state.platform.client_for(world.organization_id).get("/api/v1/users").status_code == 200
    assert erase(world).splitlines() == [
        "organization: 1 erased",
        "waiting installs: 1 erased",
        "app tokens: 1 erased",
    ]
    assert (world.stored, world.waiting, token_is_kept(world), world.me()) == (None, 0, False, 401)
    assert world.signals[-1] == ("app-uninstalled", world.organization_id)


def test_erase_of_what_nobody_knows_says_so_and_signals_nothing(world: World) -> None:
    assert erase(world, "nobody") == "Error: Nothing is kept about nobody.\n"
    world.forge(organization_id="waits")
    assert erase(world, "waits") == "waiting installs: 1 erased\n"
    assert world.signals == []


def test_an_organization_may_install_the_app_again_after_it_was_erased(world: World) -> None:
    world.install()
    erase(world)
    world.install()
    assert (world.me(), world.webhook()) == (200, 200)


def test_a_tombstone_and_its_history_go_when_the_retention_ends(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=2)
    world.install()
    uninstall(world)
    signals = list(world.signals)
    gone_at = world.stored.uninstalled_at  # type: ignore[union-attr]
    world.clock.ahead += 2 * DAY - 60
    assert world.state.sweep() == pytest.approx(gone_at + 2 * DAY)
    assert world.stored is not None
    world.clock.ahead += 120
    assert world.state.sweep() is None
    assert (world.stored, world.signals) == (None, signals)


def test_the_secrets_and_the_token_go_at_once(world: World) -> None:
    world.install()
    world.state.platform.tokens.store.set_token(ConnectAppToken(world.organization_id, "t"))
    assert token_is_kept(world)
    uninstall(world)
    assert world.stored.shared_secret is None  # type: ignore[union-attr]
    assert not token_is_kept(world)


def test_a_tombstone_stays_while_an_install_waits(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=0, ORBRO_CLAIM_MAX_AGE=60)
    world.install()
    uninstall(world)
    world.forge()
    world.state.sweep()
    assert world.stored is not None
    world.clock.ahead += 120
    world.state.sweep()
    assert (world.waiting, world.stored) == (0, None)


def test_installs_that_anybody_sends_do_not_put_off_an_erasure_for_ever(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=1, ORBRO_CLAIM_MAX_AGE=DAY)
    world.install()
    uninstall(world)
    looked_at = []
    while world.stored is not None and len(looked_at) < 10:
        world.forge(shared_secret=f"{len(looked_at):040}")
        due = world.state.sweep()
        world.clock.ahead += DAY / 2
        looked_at.append(due)
    assert len(looked_at) in (4, 5)
    assert all(looked_at)


def test_an_organization_that_came_back_is_not_erased(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=1)
    world.install()
    uninstall(world)
    world.install()
    assert world.stored.uninstalled_at is None  # type: ignore[union-attr]
    world.clock.ahead += 30 * DAY
    world.state.sweep()
    assert world.stored.state is State.ACTIVE  # type: ignore[union-attr]


def test_one_that_comes_back_while_its_retention_ends_is_not_erased(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=0)
    world.install()
    uninstall(world)
    tombstones = world.state.organizations.tombstones

    def then_it_installs(before: float, **more: float) -> object:
        found = tombstones(before, **more)
        world.install()
        return found

    world.clock.ahead += 1
    monkeypatch.setattr(world.state.organizations, "tombstones", then_it_installs)
    world.state.erasure.sweep()
    assert world.stored.state is State.ACTIVE  # type: ignore[union-attr]
    assert world.me() == 200


def erased(world: World, receiver: Any) -> Any:
    return app_erased.connected_to(receiver, sender=world.app)


def test_the_app_is_told_to_erase_what_it_keeps(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=1)
    told: list[tuple[str, State, bool]] = []

    def receive(app: Flask, organization: Any) -> None:
        told.append((organization.organization_id, organization.state, world.stored is not None))

    # The tombstone is there still: should the process die now, it is told again.
    expected = (world.organization_id, State.UNINSTALLED, True)
    with erased(world, receive):
        world.install()
        uninstall(world)
        assert told == []
        world.clock.ahead += DAY
        world.state.sweep()
        assert (told, world.stored) == ([expected], None)
        world.install()
        erase(world)
        assert (told, world.stored) == ([expected] * 2, None)


@pytest.mark.parametrize("by_hand", [True, False])
def test_where_the_app_fails_to_erase_it_is_told_again(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture, by_hand: bool
) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=1)
    told: list[str] = []

    def receive(app: Flask, organization: Any) -> None:
        told.append(organization.organization_id)
        if len(told) == 1:
            raise RuntimeError("its database is away")

    world.install()
    with erased(world, receive):
        if by_hand:
            erase(world)
        else:
            uninstall(world)
            world.clock.ahead += DAY
            world.state.sweep()
        assert world.stored is not None
        assert (world.stored.state, world.stored.shared_secret) == (State.UNINSTALLED, None)
        assert "not wholly erased" in caplog.text
        world.state.sweep()
        assert len(told) == 1
        world.clock.ahead += 3700
        world.state.sweep()
        assert (len(told), world.stored) == (2, None)


def test_what_a_process_that_died_has_left_is_erased_by_a_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    world.install()
    world.state.platform.tokens.store.set_token(ConnectAppToken(world.organization_id, "t"))
    for step in ("_erase_also", "_forget"):
        with monkeypatch.context() as patched:
            patched.setattr(world.state.erasure, step, die)
            with pytest.raises(Killed):
                world.state.erasure.erase(world.organization_id)
    assert world.me() == 401
    world.state.erasure.sweep()
    assert (world.stored, token_is_kept(world)) == (None, False)


def test_one_that_comes_back_while_the_app_erases_is_not_erased(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_RETENTION_DAYS=0)
    world.install()
    uninstall(world)

    def it_installs(app: Flask, organization: Any) -> None:
        world.install()

    world.clock.ahead += 1
    with erased(world, it_installs):
        world.state.erasure.sweep()
    assert world.stored.state is State.ACTIVE  # type: ignore[union-attr]
    assert world.me() == 200
