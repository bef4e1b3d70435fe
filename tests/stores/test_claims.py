"""Claims in SQL, on every engine: bounded in number and age, refused ones evicted first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from flask_orbro.installation import claim_asked
from flask_orbro.models import own_models
from flask_orbro.verdicts import Outcome

from .conftest import NOW, Database, claim


def test_a_claim_is_read_as_it_was_written(database: Database) -> None:
    claims = database.claims()
    for one in (claim(), claim("o2", "s" * 255, user_id=None, subdomain=None, ask_at=NOW + 0.125)):
        assert claims.add(one)
        assert claims.get(one.organization_id, one.digest) == one
    assert claims.get("o1", "other") is None
    assert claims.count() == 2


def test_the_same_claim_twice_is_one_and_stays_as_it_is(database: Database) -> None:
    claims = database.claims()
    first = claim()
    assert claims.add(first)
    claims.save(claim_asked(first, Outcome.REFUSED, NOW))
    assert claims.add(first)
    assert claims.count() == 1
    assert claims.get("o1", first.digest).refused == 1  # type: ignore[union-attr]


def test_claims_of_an_organization_come_newest_first(database: Database) -> None:
    claims = database.claims(per_organization=3)
    for number in range(3):
        claims.add(claim(secret=f"secret-{number}"))
    claims.add(claim("O1"))
    found = [waiting.shared_secret for waiting in claims.of_organization("o1")]
    assert found == ["secret-2", "secret-1", "secret-0"]
    assert [found.organization_id for found in claims.of_organization("O1")] == ["O1"]


def test_of_a_subdomain_the_oldest_claims_come_first_then_the_least_refused(database: Database) -> None:
    claims = database.claims()
    assert claims.of_subdomain("acme") == []
    for number in range(8):
        waiting = claim(f"o{number}", subdomain="acme" if number else "beta")
        claims.add(waiting)
        claims.save(replace(waiting, refused=8 - number))
    assert [found.organization_id for found in claims.of_subdomain("acme")] == ["o1", "o2", "o7", "o6"]
    assert [found.organization_id for found in claims.of_subdomain("beta")] == ["o0"]


def test_the_most_refused_claim_makes_room(database: Database) -> None:
    claims = database.claims(per_organization=3)
    for number, refused in enumerate((1, 3, 2)):
        waiting = claim(secret=f"secret-{number}")
        claims.add(waiting)
        claims.save(replace(waiting, asked=refused, refused=refused))
    assert claims.add(claim(secret="secret-new"))
    left = {found.shared_secret for found in claims.of_organization("o1")}
    assert left == {"secret-0", "secret-2", "secret-new"}


def test_where_nothing_was_refused_there_is_no_room_for_one_organization(database: Database) -> None:
    claims = database.claims(per_organization=2)
    assert [claims.add(claim(secret=f"secret-{number}")) for number in range(3)] == [True, True, False]
    assert claims.add(claim("o2"))
    assert claims.add(claim(secret="secret-0"))  # waits already
    assert claims.count() == 3


def test_where_nothing_was_refused_there_is_no_room_in_all(database: Database) -> None:
    claims = database.claims(in_all=3)
    assert [claims.add(claim(f"o{number}")) for number in range(5)] == [True] * 3 + [False] * 2
    claims.save(replace(claim("o1"), asked=1, refused=1))
    assert claims.add(claim("o9"))
    assert set(claims.count_by_organization()) == {"o0", "o2", "o9"}


def test_claims_that_nobody_can_ask_about_make_room_after_the_refused_ones(database: Database) -> None:
    claims = database.claims(in_all=4)
    for number, subdomain in enumerate((None, "acme", None, "beta")):
        claims.add(claim(f"o{number}", subdomain=subdomain))
    claims.save(replace(claim("o3"), asked=1, refused=1))
    for newcomer, gone in (("n0", "o3"), ("n1", "o0"), ("n2", "o2")):
        assert claims.add(claim(newcomer))
        assert gone not in claims.count_by_organization()
    assert not claims.add(claim("n3"))
    assert set(claims.count_by_organization()) == {"o1", "n0", "n1", "n2"}


def test_the_oldest_that_were_never_refused_are_kept_through_an_outage(database: Database) -> None:
    claims = database.claims(per_organization=4)
    for number in range(12):
        waiting = claim(secret=f"secret-{number}")
        assert claims.add(waiting)
        for _ in range(12 - number):  # the oldest are asked about most
            waiting = claim_asked(waiting, Outcome.FAULT, NOW)
        claims.save(waiting)
    left = [found.shared_secret for found in claims.of_organization("o1")]
    assert left == ["secret-11", "secret-10", "secret-1", "secret-0"]
    claims.save(replace(claim(secret="secret-0"), asked=13, refused=1))
    assert claims.add(claim(secret="secret-12"))
    left = [found.shared_secret for found in claims.of_organization("o1")]
    assert left == ["secret-12", "secret-11", "secret-10", "secret-1"]


def test_a_flood_of_any_size_stays_bounded(database: Database) -> None:
    claims = database.claims(in_all=10, per_organization=3)
    for number in range(60):
        waiting = claim(f"o{number % 7}", f"secret-{number}")
        if claims.add(waiting) and number % 2:
            claims.save(claim_asked(waiting, Outcome.REFUSED, NOW))
        assert claims.count() <= 10
        assert max(claims.count_by_organization().values()) <= 3


@pytest.mark.parametrize("organizations", [1, 1000])
def test_a_flood_from_many_at_once_stays_bounded(database: Database, organizations: int) -> None:
    claims = database.claims(in_all=20, per_organization=4)
    most = 4 if organizations == 1 else 20
    writers = 8

    def add(number: int) -> int:
        claims.add(claim(f"o{number % organizations}", f"secret-{number}", subdomain=None))
        return claims.count()

    with ThreadPoolExecutor(writers) as pool:
        counted = list(pool.map(add, range(400)))
    assert max(counted) < most + writers
    assert claims.add(claim("o0", "secret-last", subdomain=None))
    assert claims.count() <= most


def test_a_refused_claim_of_one_organization_is_not_evicted_where_all_have_room(database: Database) -> None:
    claims = database.claims(in_all=10, per_organization=2)
    waiting = claim("o1")
    claims.add(waiting)
    claims.save(replace(waiting, refused=5))
    for number in range(2):
        claims.add(claim("o2", f"secret-{number}"))
    assert not claims.add(claim("o2", "secret-2"))
    assert claims.get("o1", waiting.digest) is not None


def test_claims_past_their_age_are_forgotten(database: Database) -> None:
    claims = database.claims(per_organization=1, max_age=3600)
    claims.add(claim())
    claims.drop_old(NOW + 3600)
    assert claims.count() == 1
    assert not claims.add(replace(claim(secret="secret-2"), received_at=NOW + 3600))
    assert claims.add(replace(claim(secret="secret-2"), received_at=NOW + 3601))
    assert [found.shared_secret for found in claims.of_organization("o1")] == ["secret-2"]
    claims.drop_old(NOW + 2 * 3601)
    assert claims.count() == 0


def test_due_claims_come_longest_waiting_first(database: Database) -> None:
    claims = database.claims()
    assert claims.next_due() is None
    for number, at in enumerate((NOW, NOW - 5, NOW + 5)):
        claims.add(claim(f"o{number}", ask_at=at))
    assert claims.next_due() == NOW - 5
    assert [found.organization_id for found in claims.due(NOW, limit=1)] == ["o1"]
    assert [found.organization_id for found in claims.due(NOW)] == ["o0"]
    assert claims.next_due() == NOW + 5
    assert [found.organization_id for found in claims.due(NOW + 5)] == ["o2"]


def test_a_due_claim_is_left_to_who_has_taken_it_until_the_lease_ends(database: Database) -> None:
    claims = database.claims(lease=10)
    claims.add(claim(ask_at=NOW))
    (taken,) = claims.due(NOW)
    assert taken.ask_at == NOW
    for later, found in ((0, 0), (9.9, 0), (10.5, 1)):
        assert len(list(claims.due(NOW + later))) == found
    claims.save(claim_asked(taken, Outcome.REFUSED, NOW + 11))
    assert claims.next_due() == NOW + 12, "asked about: the lease is over"


def test_a_lease_begins_when_it_is_the_claims_turn(database: Database) -> None:
    claims, others = database.claims(lease=10), database.claims()
    for number in range(2):
        claims.add(claim(f"o{number}", ask_at=NOW))
    for taken in claims.due(NOW):
        if taken.organization_id == "o1":
            assert [found.organization_id for found in others.due(NOW + 10.2)] == ["o0"]
        time.sleep(0.3)  # a question


def test_what_has_changed_since_it_was_found_due_is_not_asked_about(database: Database) -> None:
    claims = database.claims()
    for number in range(3):
        claims.add(claim(f"o{number}", ask_at=NOW - 3 + number))
    due = claims.due(NOW)
    assert next(due).organization_id == "o0"
    claims.drop(claim("o1"))
    claims.save(claim_asked(claim("o2"), Outcome.REFUSED, NOW - 60))  # by somebody else, and due again
    assert list(due) == []
    assert [(found.organization_id, found.asked) for found in claims.due(NOW)] == [("o2", 1)]


def test_of_many_that_sweep_at_once_each_gets_others(database: Database) -> None:
    stores = [database.claims() for _ in range(4)]
    for number in range(12):
        stores[0].add(claim(f"o{number}", ask_at=NOW))
    barrier = threading.Barrier(len(stores))

    def sweep(number: int) -> list[str]:
        barrier.wait(10)
        taken = []
        for found in stores[number].due(NOW):
            taken.append(found.organization_id)
            time.sleep(0.01)  # a question
        return taken

    with ThreadPoolExecutor(len(stores)) as pool:
        taken = list(pool.map(sweep, range(len(stores))))
    assert sorted(chain.from_iterable(taken)) == sorted(f"o{number}" for number in range(12))


def test_saving_changes_only_how_often_it_was_asked(database: Database) -> None:
    claims = database.claims()
    waiting = claim()
    claims.add(waiting)
    after = claim_asked(waiting, Outcome.REFUSED, NOW)
    claims.save(replace(after, subdomain="other", user_id="other", shared_secret="other"))
    assert claims.get("o1", waiting.digest) == after


def test_a_dropped_claim_is_gone_and_the_others_stay(database: Database) -> None:
    claims = database.claims()
    for number in range(2):
        claims.add(claim(secret=f"secret-{number}"))
    claims.drop(claim(secret="secret-0"))
    claims.drop(claim(secret="secret-0"))
    assert [found.shared_secret for found in claims.of_organization("o1")] == ["secret-1"]


def test_claims_that_arrive_at_once_all_wait(database: Database) -> None:
    claims = database.claims()
    barrier = threading.Barrier(8)

    def add(number: int) -> bool:
        barrier.wait(10)
        return claims.add(claim(f"o{number % 4}", f"secret-{number % 4}"))

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(add, range(8)))
        assert claims.count() == 4
        for number in range(4):
            claims.drop(claim(f"o{number}", f"secret-{number}"))


def test_a_claim_waits_for_a_database_that_is_busy_for_a_moment(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/busy.sqlite", connect_args={"timeout": 0})
    models = own_models()
    models.client_info.metadata.create_all(engine, tables=models.tables)
    claims = Database("busy", engine, models).claims()
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        release = threading.Timer(0.15, other.rollback)
        release.start()
        assert claims.add(claim())
        release.join()
    claims.save(replace(claim(), refused=2))
    assert [found.refused for found in claims.of_organization("o1")] == [2]
    engine.dispose()
