"""A server that drops its connections: they are renewed, and no call fails for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from flask_orbro.installation import claim_asked
from flask_orbro.stores.presence import Presence
from flask_orbro.verdicts import Outcome

from .conftest import NOW, Database, claim, installing

#: How a server is told to end every connection of a database but the one that says so.
DROP = {
    "postgresql": (
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ),
    "mariadb": (
        "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
    ),
}
#: How many of them there still are.
THERE = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE pid IN ({})",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE id IN ({})",
}


class Dropper:
    """Ends the connections of a database from outside."""

    def __init__(self, database: Database) -> None:
        self._kind = database.name
        self._engine = create_engine(database.engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def drop(self) -> int:
        """:returns: how many there were."""
        with self._engine.connect() as connection:
            found = list(connection.execute(text(DROP[self._kind])))
            if self._kind == "mariadb":
                for (number,) in found:
                    with suppress(OperationalError):  # it has ended meanwhile
                        connection.execute(text(f"KILL {number}"))
            # The server only promises to end them.
            there = text(THERE[self._kind].format(", ".join(str(row[0]) for row in found) or "0"))
            until = time.monotonic() + 10
            while time.monotonic() < until and connection.execute(there).scalar():
                time.sleep(0.01)
            return len(found)


@pytest.fixture
def dropper(database: Database) -> Iterator[Dropper]:
    if database.name == "sqlite":
        pytest.skip("SQLite is no server.")
    assert database.engine.pool._pre_ping is False
    yield Dropper(database)
    database.engine.dispose()  # the next test is not about dropped connections


def warm_up(database: Database) -> None:
    """Fill the pool with connections that work, and no others."""
    database.engine.dispose()
    barrier = threading.Barrier(4)

    def connect(_: int) -> None:
        with database.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            barrier.wait(10)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(connect, range(4)))


def test_every_call_works_on_a_connection_that_was_dropped(database: Database, dropper: Dropper) -> None:
    organizations, claims = database.organizations, database.claims()
    waiting = claim("o2", subdomain="beta")
    calls = [
        lambda: organizations.change("o1", installing(claim())),
        lambda: organizations.get("o1"),
        lambda: organizations.bound_to("acme"),
        lambda: organizations.named("acme"),
        lambda: organizations.active_by_user("u1"),
        lambda: organizations.due(NOW),
        lambda: organizations.next_due(),
        lambda: organizations.any_proven(),
        lambda: list(organizations.all()),
        lambda: organizations.saw("o1", NOW),
        lambda: organizations.tombstones(NOW, in_any_case=NOW),
        lambda: organizations.oldest_tombstone(waits=False),
        lambda: claims.add(waiting),
        lambda: claims.get("o2", waiting.digest),
        lambda: claims.of_organization("o2"),
        lambda: claims.of_subdomain("beta"),
        lambda: claims.due(NOW),
        lambda: claims.next_due(),
        lambda: claims.count(),
        lambda: claims.count_by_organization(),
        lambda: claims.save(claim_asked(waiting, Outcome.REFUSED, NOW)),
        lambda: claims.drop_old(NOW),
        lambda: claims.drop(waiting),
    ]
    for call in calls:
        warm_up(database)
        assert dropper.drop() >= 4
        call()
    assert organizations.get("o1").is_active  # type: ignore[union-attr]
    assert claims.count() == 0


def test_a_page_that_was_read_before_does_not_need_its_connection(
    database: Database, dropper: Dropper
) -> None:
    for number in range(6):
        database.organizations.change(f"o{number}", installing(claim(f"o{number}", subdomain=f"s{number}")))
    found = []
    for organization in database.organizations.all(page=2):
        found.append(organization.organization_id)
        dropper.drop()
    assert found == [f"o{number}" for number in range(6)]


def test_changes_go_on_while_connections_are_dropped(database: Database, dropper: Dropper) -> None:
    organizations = database.organizations
    for number in range(4):
        organizations.change(f"o{number}", installing(claim(f"o{number}", subdomain=f"s{number}")))
    ends = threading.Event()
    dropped = []

    def drop() -> None:
        while not ends.wait(0.03):
            dropped.append(dropper.drop())

    def count(number: int) -> None:
        for _ in range(25):
            organizations.change(
                f"o{number}", lambda current: current and replace(current, asked=current.asked + 1)
            )

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, range(4)))
    finally:
        ends.set()
        thread.join()
    # A commit whose answer was lost is made again: none is lost, and hardly any counts twice.
    assert all(organization.asked >= 25 for organization in organizations.all())
    assert sum(dropped) > 0


def test_that_somebody_was_seen_never_fails(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    organizations = database.organizations
    organizations.change("o1", installing(claim()))
    now = [0.0]
    presence = Presence(organizations, lambda: NOW, timer=lambda: now[0])
    with database.statements() as seen:
        for _ in range(5):
            presence.note("o1")
    assert len(seen) == 1
    assert organizations.get("o1").last_seen_at == NOW  # type: ignore[union-attr]
    now[0] += 301
    with database.statements() as seen:
        presence.note("o1")
    assert len(seen) == 1
    with database.engine.begin() as connection:
        database.models.client_info.__table__.drop(connection)
    try:
        now[0] += 301
        presence.note("o1")
        assert "could not be written" in caplog.text
    finally:
        database.models.client_info.__table__.create(database.engine)
