"""Secrets in the database, on every engine: encrypted, bound to their row, read with a known key alone."""

from __future__ import annotations

import gc
import time
import weakref
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from flask_orbro.crypto import KeyRing, key_id
from flask_orbro.errors import ServiceUnavailable
from flask_orbro.installation import Organization, State, erase
from flask_orbro.stores.organization_cache import OrganizationCache
from flask_orbro.stores.organizations import OrganizationStore
from flask_orbro.stores.records import Records
from flask_orbro.stores.rotation import PLAIN, Rotation
from flask_orbro.stores.transactions import in_transaction

from ..test_sweeper import until
from .conftest import KEYS, NOW, Database, claim, installing

NEW, OLD, LOST = b"n" * 32, b"k" * 32, b"l" * 32
LONGEST = "~" * 255


def columns(database: Database, *names: str) -> list[Any]:
    table = database.models.client_info.__table__
    with database.engine.connect() as connection:
        query = select(*(table.c[name] for name in names)).order_by(table.c.id)
        return [tuple(row) for row in connection.execute(query)]


def write(database: Database, organization_id: str, **values: Any) -> None:
    table = database.models.client_info.__table__
    with database.engine.begin() as connection:
        connection.execute(update(table).where(table.c.organization_id == organization_id).values(values))


def store_with(database: Database, *keys: bytes) -> OrganizationStore:
    return OrganizationStore(database.sessions, database.models, Records(KeyRing(keys)))


def rotation(database: Database, *keys: bytes) -> Rotation:
    return Rotation(database.sessions, database.models, KeyRing(keys))


def test_the_longest_secrets_fit_and_are_not_in_clear(database: Database) -> None:
    organizations, claims = database.organizations, database.claims()
    organizations.change("o1", installing(claim(secret=LONGEST)))
    organizations.change("o1", installing(claim(secret="!" + LONGEST[1:])))
    assert claims.add(claim(secret=LONGEST, digest="d"))
    assert columns(database, "shared_secret", "previous_secret")[0][0].startswith("orbro1:")
    stored = organizations.get("o1")
    assert stored is not None
    assert (stored.shared_secret, stored.previous_secret) == ("!" + LONGEST[1:], LONGEST)
    assert [found.shared_secret for found in claims.of_organization("o1")] == [LONGEST]
    with database.engine.connect() as connection:
        for table in database.models.tables:
            assert "~~~~" not in repr(connection.execute(table.select()).all())


def test_a_secret_moved_to_another_row_or_column_is_none(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    organizations = database.organizations
    for number in range(2):
        proven = claim(f"o{number}", f"secret-{number}", subdomain=f"s{number}")
        organizations.change(f"o{number}", installing(proven))
    organizations.change("o0", installing(claim("o0", "secret-2", subdomain="s0")))
    (own, previous), (other, _) = columns(database, "shared_secret", "previous_secret")
    for stolen in (other, previous, own[:-4] + "AAAA", own[:-1], "orbro1:", "orbro1::", "secret-1"):
        caplog.clear()
        write(database, "o0", shared_secret=stolen)
        found = organizations.get("o0")
        assert found is not None
        assert (found.shared_secret, found.is_active, found.webhook_secrets(NOW)) == (None, False, ())
        assert "shared_secret of organization o0 cannot be read" in caplog.text
        assert stolen not in caplog.text or len(stolen) < 9
    write(database, "o0", shared_secret=own)
    assert organizations.get("o0").shared_secret == "secret-2"  # type: ignore[union-attr]


def test_plain_text_counts_only_where_nothing_is_trusted(database: Database) -> None:
    organizations = database.organizations
    organizations.change("o1", installing(claim()))
    for state in State:
        write(database, "o1", shared_secret="planted", previous_secret="planted", state=state.value)
        found = organizations.get("o1")
        assert found is not None
        assert found.shared_secret == ("planted" if state is State.PENDING else None)
        assert found.webhook_secrets(NOW) == ()


def test_plain_text_is_encrypted_when_its_row_is_written(database: Database) -> None:
    organizations = database.organizations
    organizations.change("o1", lambda _: Organization("o1", State.PENDING, "x"))
    write(database, "o1", shared_secret="legacy-secret")
    organizations.change("o1", lambda current: current and replace(current, asked=1))
    assert columns(database, "shared_secret")[0][0].startswith("orbro1:")
    assert organizations.get("o1").shared_secret == "legacy-secret"  # type: ignore[union-attr]


def test_a_secret_whose_key_is_missing_stays_until_it_is_replaced_or_erased(database: Database) -> None:
    database.organizations.change("o1", installing(claim()))
    written = columns(database, "shared_secret")
    other = store_with(database, NEW)
    other.change("o1", lambda current: current and replace(current, enabled=False))
    assert columns(database, "shared_secret") == written
    found = database.organizations.get("o1")
    assert found is not None
    assert (found.shared_secret, found.enabled) == ("secret-1", False)
    other.change("o1", installing(claim(secret="secret-2")))
    assert other.get("o1").shared_secret == "secret-2"  # type: ignore[union-attr]
    database.organizations.change("o1", lambda current: current and erase(current, NOW))
    assert columns(database, "shared_secret", "previous_secret") == [("", None)]


def test_who_needs_a_secret_that_cannot_be_read_is_told_to_come_again(database: Database) -> None:
    database.organizations.change("o1", installing(claim()))
    cache = OrganizationCache(store_with(database, NEW), ttl=60)
    for look_up in (lambda: cache.get("o1"), lambda: cache.bound_to("acme")):
        with pytest.raises(ServiceUnavailable) as caught:
            look_up()
        assert caught.value.reason == "secret_unreadable"
    assert OrganizationCache(store_with(database, NEW, OLD), ttl=60).get("o1").is_active  # type: ignore[union-attr]


def test_the_cache_holds_no_secret_for_longer_than_it_uses_it(database: Database) -> None:
    """Though nobody asks: what an idle process holds in memory would be there for good."""
    database.organizations.change("o1", installing(claim()))
    cache = OrganizationCache(database.organizations, ttl=0.2)
    for _ in range(2):  # again, once it has nothing to let go
        held = weakref.ref(cache.get("o1"))  # type: ignore[type-var]
        with database.statements() as seen:
            assert cache.get("o1") is held()
        assert seen == []
        assert until(lambda held=held: gc.collect() is not None and held() is None)  # type: ignore[misc]


def test_the_cache_holds_no_previous_secret_past_its_window(database: Database) -> None:
    database.organizations.change("o1", installing(claim()))
    database.organizations.change("o1", installing(claim(secret="secret-2")))
    for now, held in ((NOW + 50, "secret-1"), (NOW + 57, None)):
        cache = OrganizationCache(database.organizations, ttl=2, clock=lambda now=now: now)  # type: ignore[misc]
        found = cache.get("o1")
        assert found is not None
        assert (found.shared_secret, found.previous_secret) == ("secret-2", held)


def test_rotation_writes_everything_with_the_newest_key_in_batches(database: Database) -> None:
    for number in range(7):
        proven = claim(f"o{number}", f"secret-{number}", subdomain=f"s{number}")
        database.organizations.change(f"o{number}", installing(proven))
    database.organizations.change("o0", installing(claim("o0", "secret-9", subdomain="s0")))
    claims = database.claims()
    for number in range(3):
        claims.add(claim(f"o{number}", f"claimed-{number}"))
    before = columns(database, "version", "updated_time")
    rotating = rotation(database, NEW, OLD)
    assert rotating.by_key() == {key_id(OLD): 11}
    steps = rotating.run(batch=3)
    assert next(steps) == 3
    del steps  # stopped half-way
    assert rotating.by_key() == {key_id(NEW): 3, key_id(OLD): 8}
    assert list(rotation(database, NEW, OLD).run(batch=3)) == [3, 1, 1, 3]
    assert list(rotation(database, NEW, OLD).run(batch=3)) == []
    assert rotating.by_key() == {key_id(NEW): 11}
    assert columns(database, "version", "updated_time") == before
    alone = store_with(database, NEW)
    assert [found.shared_secret for found in alone.all()] == [
        "secret-9",
        *(f"secret-{n}" for n in range(1, 7)),
    ]
    assert alone.get("o0").previous_secret == "secret-0"  # type: ignore[union-attr]


def test_rotation_passes_over_what_it_cannot_read_and_tells_of_it(database: Database) -> None:
    for number in range(3):
        proven = claim(f"o{number}", f"secret-{number}", subdomain=f"s{number}")
        database.organizations.change(f"o{number}", installing(proven))
    store_with(database, LOST).change("o1", installing(claim("o1", "secret-1", subdomain="s1")))
    write(database, "o2", shared_secret="plain text in an active row")
    rotating = rotation(database, NEW, OLD)
    assert sum(rotating.run(batch=2)) == 1
    assert rotating.by_key() == {key_id(NEW): 1, key_id(LOST): 1, PLAIN: 1}
    assert (rotating.rows_of(key_id(LOST)), rotating.rows_of(PLAIN), rotating.rows_of("0" * 8)) == (1, 1, 0)


def test_rotation_encrypts_what_the_old_sdk_has_left_in_plain_text(database: Database) -> None:
    database.organizations.change("o1", lambda _: Organization("o1", State.PENDING, "x"))
    write(database, "o1", shared_secret="legacy-secret")
    assert rotation(database, OLD).by_key() == {PLAIN: 1}
    assert list(rotation(database, OLD).run(batch=500)) == [1]
    assert database.organizations.get("o1").shared_secret == "legacy-secret"  # type: ignore[union-attr]


def test_what_the_app_writes_during_a_rotation_is_not_overwritten(database: Database) -> None:
    database.organizations.change("o1", installing(claim()))
    rotating = rotation(database, NEW, OLD)
    read = rotating._read

    def read_and_change(query: Any) -> list[Any]:
        rows = read(query)
        # Once: a later change would put right what was overwritten.
        rotating._read = read  # type: ignore[method-assign]
        store_with(database, NEW, OLD).change("o1", installing(claim(secret="secret-2")))
        return rows

    rotating._read = read_and_change  # type: ignore[method-assign]
    list(rotating.run(batch=10))
    found = store_with(database, NEW).get("o1")
    assert found is not None
    assert (found.shared_secret, found.previous_secret) == ("secret-2", "secret-1")


def test_a_secret_of_a_claim_moved_to_another_row_is_none(database: Database) -> None:
    claims = database.claims()
    for name in ("o1", "o2"):
        assert claims.add(claim(name, f"secret-of-{name}", digest="same"))
    table = database.models.claim.__table__
    with database.engine.begin() as connection:
        stolen = select(table.c.shared_secret).where(table.c.organization_id == "o1")
        written = connection.execute(stolen).scalar_one()
        moved = update(table).where(table.c.organization_id == "o2")
        connection.execute(moved.values(shared_secret=written))
    assert [found.shared_secret for found in claims.of_organization("o1")] == ["secret-of-o1"]
    assert claims.of_organization("o2") == []


def test_an_error_of_the_database_shows_no_secret(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    table = database.models.client_info.__table__
    database.organizations.change("o1", installing(claim()))
    twice = insert(table).values(organization_id="o1", shared_secret="a-secret-in-clear")
    with pytest.raises(IntegrityError) as caught:
        in_transaction(database.sessions, lambda session: session.execute(twice))
    assert "INSERT" in str(caught.value)
    assert "in-clear" not in str(caught.value)


def test_what_was_read_before_a_change_does_not_outlive_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    organizations = database.organizations
    organizations.change("o1", installing(claim()))
    cache = OrganizationCache(organizations, ttl=60)
    get = organizations.get

    def read_and_change(organization_id: str) -> Any:
        monkeypatch.undo()
        found = get(organization_id)
        organizations.change("o1", installing(claim(secret="secret-2")))
        return found

    monkeypatch.setattr(organizations, "get", read_and_change)
    assert cache.get("o1").shared_secret == "secret-1"  # type: ignore[union-attr]
    assert cache.get("o1").shared_secret == "secret-2"  # type: ignore[union-attr]


def test_the_ring_of_the_tests_is_the_old_key() -> None:
    assert KEYS.ids == (key_id(OLD),)
