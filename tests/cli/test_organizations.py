"""``flask orbro organizations``, ``rotate-keys`` and ``erase`` at a terminal."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import create_engine, update
from sqlalchemy.orm import sessionmaker

from flask_orbro import OrbroConnect, cli
from flask_orbro.crypto import key_id, new_key
from flask_orbro.installation import Organization, State

from ..conftest import ENCRYPTION_KEY
from ..lifecycle_world import MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401

NEWER = new_key()


def id_of(key: str) -> str:
    return key_id(base64.urlsafe_b64decode(key))


def run(world: World, *arguments: str) -> Result:
    result = world.app.test_cli_runner().invoke(cli.orbro, list(arguments))
    assert "Traceback" not in result.output
    return result


def listed(world: World) -> dict[str, dict[str, object]]:
    lines = run(world, "organizations", "--json").output.splitlines()
    return {record["organization_id"]: record for record in map(json.loads, lines)}


def test_when_an_organization_was_last_seen_is_listed(world: World) -> None:
    world.install()
    assert "last seen never" in run(world, "organizations").output
    began = int(time.time())
    assert world.webhook() == 200
    seen = listed(world)[world.organization_id]["last_seen"]
    at = datetime.strptime(str(seen), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert began <= at <= time.time()
    assert f"last seen {seen}" in run(world, "organizations").output


def test_who_is_refused_was_not_seen(world: World) -> None:
    world.install()
    assert world.webhook(token="eyJhbGciOiJIUzI1NiJ9.e30.x") == 401
    assert listed(world)[world.organization_id]["last_seen"] is None


def test_many_organizations_are_listed_as_they_are_read(world: World) -> None:
    ids = [f"o{number:04}" for number in range(1203)]

    def pending(organization_id: str) -> Organization:
        return Organization(organization_id, State.PENDING)

    for organization_id in ids:
        world.state.organizations.change(organization_id, lambda _, it=organization_id: pending(it))
    assert list(listed(world)) == ids
    assert len(run(world, "organizations").output.splitlines()) == len(ids)


def test_an_install_without_a_subdomain_is_approved_with_one_alone(world: World) -> None:
    world.install(send_subdomain=False)
    refused = run(world, "organizations", "approve", world.organization_id)
    assert refused.exit_code == 1
    assert "give --subdomain" in refused.output
    assert (world.stored, world.waiting, world.me()) == (None, 1, 401)
    approved = run(world, "organizations", "approve", world.organization_id, "--subdomain", "acme")
    assert approved.output == f"{world.organization_id} is active.\n"
    assert (world.waiting, world.me()) == (0, 200)


MakeRing = Callable[..., World]


@pytest.fixture
def with_keys(make_world: MakeWorld, tmp_path: Path) -> Iterator[MakeRing]:
    """Worlds over one database, each with a key ring of its own; five organizations were there before."""
    engine = create_engine(f"sqlite:///{tmp_path}/shared.sqlite")

    def make(*keys: str) -> World:
        return make_world(
            OrbroConnect(db_session_maker=sessionmaker(engine)), ORBRO_ENCRYPTION_KEYS=list(keys)
        )

    world = make(ENCRYPTION_KEY)
    for number in range(5):
        world.install(subdomain=f"s{number}")
    world.forge()
    yield make
    engine.dispose()


def test_keys_are_rotated_online_in_the_order_that_the_readme_gives(with_keys: MakeRing) -> None:
    rings = [(ENCRYPTION_KEY,), (ENCRYPTION_KEY, NEWER), (NEWER, ENCRYPTION_KEY), (NEWER,)]
    for before, after in pairwise(rings):
        # While one process has the next ring already, each writes and the other reads.
        old, new = with_keys(*before), with_keys(*after)
        for writer in (old, new):
            writer.install(subdomain="s0")
            for reader in (old, new):
                found = reader.state.organizations.get(reader.platform.organization("s0").id)
                assert found is not None
                assert found.is_active
        if after[0] == NEWER and len(after) > 1:
            assert run(new, "rotate-keys").exit_code == 0
            assert {item.is_active for item in with_keys(*after).state.organizations.all()} == {True}
    assert {item.is_active for item in with_keys(NEWER).state.organizations.all()} == {True}


def test_keys_are_rotated_with_progress(with_keys: MakeRing) -> None:
    world = with_keys(NEWER, ENCRYPTION_KEY)
    result = run(world, "rotate-keys", "--batch", "2")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"6 secrets are to be encrypted with the key {id_of(NEWER)}.",
        "2 of 6",
        "4 of 6",
        "5 of 6",
        "6 of 6",
        f"Nothing needs {id_of(ENCRYPTION_KEY)} any more: take it out of ORBRO_ENCRYPTION_KEYS.",
    ]
    again = run(world, "rotate-keys").output.splitlines()
    assert again[0] == f"0 secrets are to be encrypted with the key {id_of(NEWER)}."
    assert len(again) == 2
    alone = with_keys(NEWER)
    assert {item.is_active for item in alone.state.organizations.all()} == {True}
    assert [len(alone.state.claims.of_organization(alone.organization_id))] == [1]


def test_a_key_that_is_missing_is_named_with_how_many_rows_need_it(with_keys: MakeRing) -> None:
    world = with_keys(NEWER)
    world.install(subdomain="s7")
    result = run(world, "rotate-keys")
    assert result.exit_code == 1
    assert f"Error: 6 rows need the key {id_of(ENCRYPTION_KEY)}: add it as the last" in result.output
    for key in (NEWER, ENCRYPTION_KEY):
        assert key not in result.output


def test_a_secret_that_was_altered_is_told_of(with_keys: MakeRing) -> None:
    world = with_keys(NEWER, ENCRYPTION_KEY)
    table = world.state.models.client_info.__table__
    with world.state.organizations.sessions() as session, session.begin():
        altered = table.c.shared_secret + "A"
        session.execute(update(table).where(table.c.id <= 2).values(shared_secret=altered))
        session.execute(update(table).where(table.c.id == 3).values(shared_secret="plain text"))
    result = run(world, "rotate-keys")
    assert result.exit_code == 1
    assert "2 rows hold a secret that was altered, or written for another row" in result.output
    assert "1 rows hold a secret that was altered" in result.output
    assert "plain text" not in result.output
