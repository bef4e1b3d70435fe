"""``flask orbro sweep``: everything that is due, however much it is."""

from __future__ import annotations

import pytest

from flask_orbro.cli import orbro
from flask_orbro.installation import Claim, Organization, State
from flask_orbro.protocol import CONNECT_PATH

from ..lifecycle_world import World, make_world_fixture, world_fixture  # noqa: F401

#: More than a round takes.
MANY = 130


def sweep(world: World) -> str:
    result = world.app.test_cli_runner().invoke(orbro, ["sweep"])
    assert result.exit_code == 0, result.output
    return result.output


def keep(world: World, organization: Organization) -> None:
    world.state.organizations.change(organization.organization_id, lambda _: organization)


@pytest.fixture(autouse=True)
def _no_thread(world: World) -> None:
    world.state.sweeper.stop()


def test_everything_that_is_due_is_asked_about(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, status=500)
    now = world.clock()
    secret = "z" * 40
    for number in range(MANY):
        world.state.claims.add(Claim(f"c{number}", secret, f"d{number}", None, "acme", now, ask_at=now))
        keep(world, Organization(f"o{number}", State.ACTIVE, secret, "acme", ask_at=now))
    assert sweep(world).startswith(f"{MANY} claims wait. More is due later.")
    assert world.platform.counts[CONNECT_PATH] >= 2 * MANY
    assert all(found.asked for found in world.state.organizations.all())
    assert all(
        found.asked for number in range(MANY) for found in world.state.claims.of_organization(f"c{number}")
    )


def test_everything_past_its_retention_is_erased(world: World) -> None:
    now = world.clock()
    ended = now - world.state.config.retention_days * 86_400 - MANY
    for number in range(MANY):
        keep(world, Organization(f"o{number}", State.UNINSTALLED, uninstalled_at=ended + number))
    # These came first, and are not erased while they may be installing the app again.
    for number in range(105):
        claim = Claim(f"o{number}", "z" * 40, f"d{number}", None, None, now, ask_at=now + 60)
        world.state.claims.add(claim)
    assert sweep(world).startswith("105 claims wait.")
    assert len(list(world.state.organizations.all())) == 105
    for number in range(105):
        world.state.lifecycle.remove(f"o{number}")
    assert sweep(world) == "0 claims wait.\n"
    assert list(world.state.organizations.all()) == []
