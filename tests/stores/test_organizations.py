"""Organizations in SQL, on every engine: byte-exact, one row each, whole changes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from flask_orbro.installation import Organization, State, judge, request_uninstall
from flask_orbro.models import own_models
from flask_orbro.stores.organizations import OrganizationStore
from flask_orbro.verdicts import Outcome

from .conftest import NOW, Database, claim, installing


def test_what_is_stored_is_read_as_it_was(organizations: OrganizationStore) -> None:
    whole = Organization(
        "o1", State.SUSPENDED, "s" * 255, "acme", None, "u1", "p" * 255, NOW + 0.125, NOW + 0.25, NOW + 0.5,
        NOW + 1.0, NOW + 2.0, 7, NOW + 3.0625, True,
    )  # fmt: skip
    assert organizations.change("o1", lambda _: whole) == replace(whole, version=1)
    assert organizations.get("o1") == replace(whole, version=1)
    assert organizations.get("o2") is None


def test_an_erased_secret_is_no_secret(organizations: OrganizationStore) -> None:
    organizations.change("o1", lambda _: Organization("o1", State.UNINSTALLED))
    stored = organizations.get("o1")
    assert stored is not None
    assert (stored.shared_secret, stored.is_active, stored.webhook_secrets(NOW)) == (None, False, ())


def test_a_transition_to_nothing_or_to_the_same_writes_nothing(database: Database) -> None:
    organizations = database.organizations
    organizations.change("o1", installing(claim()))
    with database.statements() as seen:
        assert organizations.change("o1", lambda current: current).version == 1
        assert organizations.change("o2", lambda _: None) is None
    assert all(statement.lstrip().upper().startswith("SELECT") for statement in seen)
    assert organizations.get("o2") is None


def test_ids_are_told_apart_byte_by_byte(organizations: OrganizationStore) -> None:
    ids = ["org-a", "ORG-A", "org-á", "Org-a", "orģ-a"]
    for number, organization_id in enumerate(ids):
        proven = claim(organization_id, f"secret-{number}", subdomain=f"s{number}", user_id=organization_id)
        organizations.change(organization_id, installing(proven))
    for number, organization_id in enumerate(ids):
        stored = organizations.get(organization_id)
        assert stored is not None
        assert (stored.organization_id, stored.shared_secret) == (organization_id, f"secret-{number}")
        assert [found.organization_id for found in organizations.active_by_user(organization_id)] == [
            organization_id
        ]
    assert organizations.get("ORG-Á") is None
    assert [found.organization_id for found in organizations.all(page=2)] == ids


def test_a_proven_install_takes_its_subdomain_from_any_other(organizations: OrganizationStore) -> None:
    organizations.change("o1", installing(claim("o1")))
    assert organizations.bound_to("acme").organization_id == "o1"  # type: ignore[union-attr]
    organizations.change("o2", installing(claim("o2")))
    assert organizations.bound_to("acme").organization_id == "o2"  # type: ignore[union-attr]
    loser = organizations.get("o1")
    assert loser is not None
    assert (loser.state, loser.bound_subdomain, loser.subdomain) == (State.ACTIVE, None, "acme")
    assert [found.organization_id for found in organizations.due(NOW)] == ["o1"]
    assert {found.organization_id for found in organizations.named("acme")} == {"o1", "o2"}


@pytest.mark.parametrize("state", [State.SUSPENDED, State.UNINSTALLED, State.PENDING])
def test_look_ups_see_active_rows_only(organizations: OrganizationStore, state: State) -> None:
    proven = installing(claim())(None)
    organizations.change("o1", lambda _: replace(proven, state=state))
    assert organizations.bound_to("acme") is None
    assert organizations.active_by_user("u1") == []
    assert organizations.get("o1") is not None


def test_two_organizations_of_one_user_are_both_found(organizations: OrganizationStore) -> None:
    for number in range(3):
        organizations.change(f"o{number}", installing(claim(f"o{number}", subdomain=f"s{number}")))
    assert len(organizations.active_by_user("u1")) == 2


def test_due_is_what_is_to_be_asked_about_longest_waiting_first(organizations: OrganizationStore) -> None:
    assert organizations.next_due() is None
    for number, at in enumerate((NOW + 5, NOW - 5, None, NOW)):
        stored = Organization(f"o{number}", State.ACTIVE, "s", ask_at=at)
        organizations.change(f"o{number}", lambda _, stored=stored: stored)
    assert organizations.next_due() == NOW - 5
    assert [found.organization_id for found in organizations.due(NOW, limit=1)] == ["o1"]
    assert [found.organization_id for found in organizations.due(NOW)] == ["o3"]
    assert organizations.next_due() == NOW + 5


def test_a_due_organization_is_left_to_who_has_taken_it_until_the_lease_ends(database: Database) -> None:
    organizations = OrganizationStore(database.sessions, database.models, database.records, lease=10)
    organizations.change("o1", lambda _: Organization("o1", State.ACTIVE, "s", ask_at=NOW))
    assert len(list(organizations.due(NOW))) == 1
    for later, found in ((0, 0), (9.9, 0), (10.5, 1)):
        assert len(list(organizations.due(NOW + later))) == found
    organizations.change("o1", lambda current: current and replace(current, ask_at=None))
    assert organizations.next_due() is None


def test_a_change_that_was_under_way_does_not_undo_a_lease(tmp_path: Path) -> None:
    # SQLite locks no row that is read to be changed; the others do, and the lease waits.
    engine, models = create_engine(f"sqlite:///{tmp_path}/leases.sqlite"), own_models()
    models.client_info.metadata.create_all(engine, tables=models.tables)
    database = Database("leases", engine, models)
    organizations, others = database.organizations, database.organizations
    organizations.change("o1", lambda _: Organization("o1", State.ACTIVE, "s", ask_at=NOW))
    taken: list[Organization] = []

    def transition(current: Organization | None) -> Organization | None:
        taken.extend(others.due(NOW))  # between reading and writing
        return current and replace(current, enabled=True)

    organizations.change("o1", transition)
    assert len(taken) == 1
    assert list(others.due(NOW)) == []
    assert organizations.get("o1").enabled  # type: ignore[union-attr]
    engine.dispose()


def test_of_many_that_sweep_at_once_each_gets_others(database: Database) -> None:
    stores = [database.organizations for _ in range(4)]
    for number in range(12):
        stored = Organization(f"o{number}", State.ACTIVE, "s", ask_at=NOW)
        stores[0].change(f"o{number}", lambda _, stored=stored: stored)
    barrier = threading.Barrier(len(stores))

    def sweep(number: int) -> list[str]:
        barrier.wait(10)
        return [found.organization_id for found in stores[number].due(NOW)]

    with ThreadPoolExecutor(len(stores)) as pool:
        taken = list(pool.map(sweep, range(len(stores))))
    assert sorted(chain.from_iterable(taken)) == sorted(f"o{number}" for number in range(12))


def test_concurrent_installs_of_one_organization_make_one_row(database: Database) -> None:
    organizations = database.organizations
    barrier = threading.Barrier(8)

    def install(number: int) -> str | None:
        barrier.wait(10)
        after = organizations.change("o1", installing(claim(secret=f"secret-{number}")))
        return after.shared_secret if after else None

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(install, range(8))) == [f"secret-{number}" for number in range(8)]
    stored = list(organizations.all())
    assert len(stored) == 1
    assert stored[0].version == 8


def test_no_concurrent_change_is_lost(database: Database) -> None:
    organizations = database.organizations
    organizations.change("o1", installing(claim()))
    barrier = threading.Barrier(6)

    def count(_: int) -> None:
        barrier.wait(10)
        organizations.change("o1", lambda current: current and replace(current, asked=current.asked + 1))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(count, range(6)))
    stored = organizations.get("o1")
    assert stored is not None
    assert (stored.asked, stored.version) == (6, 7)


def test_organizations_that_fight_for_a_subdomain_leave_one_holder(database: Database) -> None:
    organizations = database.organizations
    barrier = threading.Barrier(6)

    def install(number: int) -> None:
        barrier.wait(10)
        organizations.change(f"o{number}", installing(claim(f"o{number}")))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(install, range(6)))
    holders = [found.organization_id for found in organizations.all() if found.bound_subdomain == "acme"]
    assert len(holders) == 1
    assert len(list(organizations.all())) == 6
    assert organizations.bound_to("acme").organization_id == holders[0]  # type: ignore[union-attr]


def test_every_look_up_is_one_statement(database: Database) -> None:
    organizations = database.organizations
    organizations.change("o1", installing(claim()))
    for look_up in (
        lambda: organizations.get("o1"),
        lambda: organizations.bound_to("acme"),
        lambda: organizations.active_by_user("u1"),
        lambda: organizations.named("acme"),
        lambda: list(organizations.due(NOW)),
        lambda: organizations.next_due(),
    ):
        with database.statements() as seen:
            look_up()
        assert len(seen) == 1, seen


def test_a_transition_that_raises_leaves_everything_as_it_was(organizations: OrganizationStore) -> None:
    organizations.change("o1", installing(claim()))
    before = organizations.get("o1")

    def fail(_: Organization | None) -> Organization:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        organizations.change("o1", fail)
    assert organizations.get("o1") == before


def test_a_whole_life_goes_through_the_database(organizations: OrganizationStore) -> None:
    organizations.change("o1", installing(claim()))
    organizations.change("o1", lambda current: current and request_uninstall(current, NOW))
    for at in (NOW, NOW + 10):
        organizations.change("o1", lambda c, at=at: c and judge(c, Outcome.REFUSED, now=at, grace=10))
    stored = organizations.get("o1")
    assert stored is not None
    assert (stored.state, stored.shared_secret, stored.version) == (State.UNINSTALLED, None, 4)
    organizations.change("o1", installing(claim(secret="secret-2")))
    assert organizations.bound_to("acme").shared_secret == "secret-2"  # type: ignore[union-attr]
