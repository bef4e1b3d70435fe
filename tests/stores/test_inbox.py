"""The inbox on every engine: what is kept, who may have it, and what becomes of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from flask_orbro.stores import inbox as stored
from flask_orbro.stores.arrivals import LOST, BeingHandled
from flask_orbro.stores.delivery_record import DeliveryRecord, DeliveryState
from flask_orbro.stores.inbox import BATCH, InboxStore

from .conftest import NOW, Database

WINDOW = 3600.0


@pytest.fixture
def inbox(database: Database) -> InboxStore:
    return database.inbox


def delivery(digest: str = "d", **more: Any) -> DeliveryRecord:
    usual: dict[str, Any] = {
        "organization_id": "o1",
        "user_id": None,
        "event": "device:device_updated",
        "path": "/webhook/events",
        "payload": b"{}",
        "headers": {"User-Agent": "platform"},
        "trace_id": "t" * 32,
        "received_at": NOW,
        "next_attempt_at": NOW,
    }
    return DeliveryRecord(digest=digest, **(usual | more))


def receive(inbox: InboxStore, digest: str = "d", **more: Any) -> DeliveryRecord:
    return inbox.receive(delivery(digest, **more), window=WINDOW)


def at_once(work: Callable[[int], Any], times: int) -> list[Any]:
    """The work, done by as many threads at the same moment."""
    barrier = threading.Barrier(times)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(begin, range(times)))


@pytest.mark.parametrize(
    "payload",
    [b"{}", b'"\\u0000\\ud800"', b"\x00\xff\xfe", "\u9999\U0001f600".encode(), b"x" * 300_000, b""],
    ids=["empty", "escapes", "bytes", "letters", "300 KB", "nothing"],
)
def test_a_delivery_is_kept_byte_by_byte(inbox: InboxStore, payload: bytes) -> None:
    sent = delivery(payload=payload, event="\ucd9c\uc785:\U0001f600", headers={"X-\xe9": "\u9999"})
    kept = inbox.receive(sent, window=WINDOW)
    assert inbox.get(kept.id) == replace(sent, id=kept.id)


def test_receiving_is_one_statement(database: Database, inbox: InboxStore) -> None:
    with database.statements() as seen:
        receive(inbox)
    assert len(seen) == 1


def test_an_equal_one_is_a_duplicate_within_the_window(inbox: InboxStore) -> None:
    first = receive(inbox)
    second = receive(inbox, received_at=NOW + WINDOW - 1)
    assert (second.state, second.duplicate_of) == (DeliveryState.DUPLICATE, first.id)
    assert inbox.get(second.id) == second
    assert second.next_attempt_at is None
    after = receive(inbox, received_at=NOW + WINDOW + 1)
    assert after.state is DeliveryState.RECEIVED
    assert receive(inbox, received_at=NOW + WINDOW + 2).duplicate_of == after.id
    assert receive(inbox, "another").state is DeliveryState.RECEIVED


def test_without_a_window_nothing_is_a_duplicate(inbox: InboxStore) -> None:
    states = {inbox.receive(delivery(), window=0).state for _ in range(3)}
    assert states == {DeliveryState.RECEIVED}


def test_of_equal_ones_that_come_at_once_one_is_handled(inbox: InboxStore) -> None:
    for round_ in range(5):
        kept = at_once(lambda _, name=f"d{round_}": receive(inbox, name), 8)
        assert Counter(item.state for item in kept) == {
            DeliveryState.RECEIVED: 1,
            DeliveryState.DUPLICATE: 7,
        }
    assert inbox.count(DeliveryState.DUPLICATE) == 35


def test_of_equal_ones_at_once_after_the_window_one_is_handled(inbox: InboxStore) -> None:
    receive(inbox, received_at=NOW - 2 * WINDOW)
    kept = at_once(lambda _: receive(inbox), 8)
    assert sum(item.state is DeliveryState.RECEIVED for item in kept) == 1


def test_one_worker_gets_it(inbox: InboxStore) -> None:
    kept = receive(inbox)
    claimed = [
        item
        for item in at_once(lambda n: inbox.claim(kept.id, lease=f"lease{n}", until=NOW + 60), 8)
        if item is not None
    ]
    assert len(claimed) == 1
    assert (claimed[0].state, claimed[0].attempts) == (DeliveryState.PROCESSING, 1)
    assert inbox.get(kept.id) == claimed[0]


def test_what_does_not_wait_cannot_be_claimed(inbox: InboxStore) -> None:
    assert inbox.claim(123456, lease="l", until=NOW) is None
    kept = receive(inbox)
    for state in set(DeliveryState) - {DeliveryState.RECEIVED}:
        assert inbox.claim(kept.id, lease="l", until=NOW + 60) is not None
        assert inbox.settle(kept.id, "l", {"state": state, "lease": None})
        assert inbox.claim(kept.id, lease="l", until=NOW + 60) is None
        with_state = {"state": DeliveryState.RECEIVED}
        inbox.settle(kept.id, "l", with_state)
        inbox.redeliver(kept.id, now=NOW)
        if state is DeliveryState.PROCESSING:
            inbox.call_due(NOW + 61, until=NOW + 90)


def test_who_lost_the_lease_settles_nothing(inbox: InboxStore) -> None:
    kept = receive(inbox)
    inbox.claim(kept.id, lease="slow", until=NOW + 60)
    assert inbox.call_due(NOW + 61, until=NOW + 90) == [kept.id]
    assert not inbox.settle(kept.id, "slow", {"state": DeliveryState.DONE})
    again = inbox.claim(kept.id, lease="quick", until=NOW + 120)
    assert again is not None
    assert (again.attempts, again.last_error) == (2, LOST)
    assert inbox.settle(kept.id, "quick", {"state": DeliveryState.DONE, "next_attempt_at": None})


def test_after_a_fence_the_old_lease_settles_nothing(inbox: InboxStore) -> None:
    kept = receive(inbox)
    inbox.claim(kept.id, lease="old", until=NOW + 60)
    inbox.settle(kept.id, "old", {"progress": {"a": "done"}})
    assert inbox.fence(kept.id, lease="old", new="new") == {"a": "done"}
    assert inbox.fence(kept.id, lease="old", new="newer") is None
    assert not inbox.settle(kept.id, "old", {"state": DeliveryState.DONE})
    assert inbox.settle(kept.id, "new", {"state": DeliveryState.FAILED})


def test_a_sweep_calls_what_is_due_and_no_more(inbox: InboxStore) -> None:
    waiting = receive(inbox, "waiting")
    receive(inbox, "later", next_attempt_at=NOW + 100)
    failed = receive(inbox, "failed")
    inbox.claim(failed.id, lease="l", until=NOW + 60)
    inbox.settle(failed.id, "l", {"state": DeliveryState.FAILED, "next_attempt_at": NOW + 5})
    done = receive(inbox, "done")
    inbox.claim(done.id, lease="l", until=NOW + 60)
    inbox.settle(done.id, "l", {"state": DeliveryState.DONE, "next_attempt_at": None})
    assert inbox.next_due() == NOW
    assert inbox.call_due(NOW, until=NOW + 30) == [waiting.id]
    assert inbox.next_due() == NOW + 5
    assert inbox.call_due(NOW + 6, until=NOW + 36) == [failed.id]
    assert inbox.next_due() == NOW + 30
    called = inbox.get(failed.id)
    assert called is not None
    assert (called.state, called.attempts) == (DeliveryState.RECEIVED, 1)


def test_sweeps_at_once_leave_nothing_out(inbox: InboxStore) -> None:
    ids = {receive(inbox, f"d{number}").id for number in range(BATCH + 20)}
    called = at_once(lambda _: inbox.call_due(NOW, until=NOW + 30), 4)
    found = [delivery_id for some in called for delivery_id in some]
    assert set(found) | set(inbox.call_due(NOW, until=NOW + 30)) == ids


def test_receiving_goes_on_while_sweeps_and_claims_run(inbox: InboxStore) -> None:
    def work(number: int) -> int:
        done = 0
        for turn in range(25):
            if number < 4:
                receive(inbox, f"d{number}-{turn}")
            for delivery_id in inbox.call_due(NOW, until=NOW + 30) if number >= 4 else ():
                lease = f"{number}-{turn}"
                if inbox.claim(delivery_id, lease=lease, until=NOW + 60):
                    values = {"state": DeliveryState.DONE, "next_attempt_at": None, "lease": None}
                    done += inbox.settle(delivery_id, lease, values)
        return done

    done = sum(at_once(work, 6))
    assert done == inbox.count(DeliveryState.DONE)
    assert inbox.count(DeliveryState.DONE) + inbox.count(DeliveryState.RECEIVED) == 100


def test_redelivering_runs_those_that_gave_up_or_all_where_none_did(inbox: InboxStore) -> None:
    kept = receive(inbox)
    for progress, after in (
        ({"a": "done", "b": "dead"}, {"a": "done"}),
        ({"a": "done", "b": "done"}, {}),
        ({}, {}),
    ):
        inbox.claim(kept.id, lease="l", until=NOW + 60)
        inbox.settle(kept.id, "l", {"state": DeliveryState.DEAD, "progress": progress, "lease": None})
        assert inbox.redeliver(kept.id, now=NOW + 1)
        record = inbox.get(kept.id)
        assert record is not None
        assert (record.state, record.attempts, record.progress) == (DeliveryState.RECEIVED, 0, after)
    inbox.claim(kept.id, lease="l", until=NOW + 60)
    assert not inbox.redeliver(kept.id, now=NOW + 1)
    assert not inbox.redeliver(123456, now=NOW + 1)


def test_deliveries_are_found_newest_first(inbox: InboxStore) -> None:
    first, second, other = (
        receive(inbox, "1"),
        receive(inbox, "2"),
        receive(inbox, "3", organization_id="o2", state=DeliveryState.DEAD, next_attempt_at=None),
    )
    assert [item.id for item in inbox.find()] == [other.id, second.id, first.id]
    assert [item.id for item in inbox.find(organization_id="o1")] == [second.id, first.id]
    assert [item.id for item in inbox.find(state=DeliveryState.DEAD)] == [other.id]
    assert [item.id for item in inbox.find(before=second.id)] == [first.id]
    assert [item.id for item in inbox.find(limit=1)] == [other.id]
    assert inbox.find(limit=1) == [replace(other, payload=b"", headers={})]


def test_what_is_old_goes_and_what_waits_stays(inbox: InboxStore) -> None:
    finished = {"state": DeliveryState.DONE, "next_attempt_at": None}
    old = receive(inbox, "old", received_at=NOW - 100, **finished)
    waiting = receive(inbox, "waiting", received_at=NOW - 100)
    new = receive(inbox, "new", **finished)
    assert inbox.retain(received_after=NOW - 50, most=1000) == 1
    assert (inbox.get(old.id), inbox.get(waiting.id), inbox.get(new.id)) == (None, waiting, new)
    newest = [receive(inbox, f"n{number}", **finished) for number in range(5)]
    assert inbox.retain(received_after=NOW - 50, most=3) == 3
    assert [item.id for item in inbox.find()] == [*(item.id for item in newest[:1:-1]), waiting.id]


def test_what_waits_keeps_nothing_else_from_going(inbox: InboxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BATCH", 3)
    waiting = [receive(inbox, f"w{number}", received_at=NOW - 100) for number in range(4)]
    for number in range(5):
        receive(inbox, f"o{number}", received_at=NOW - 100, state=DeliveryState.DONE, next_attempt_at=None)
    assert [inbox.retain(received_after=NOW - 50, most=1000) for _ in range(3)] == [3, 2, 0]
    assert [item.id for item in inbox.find()] == [item.id for item in waiting[::-1]]


def test_an_organization_is_erased_with_nobody_else(inbox: InboxStore) -> None:
    for number in range(BATCH + 3):
        receive(inbox, f"d{number}")
    other = receive(inbox, "other", organization_id="o2")
    assert inbox.erase("o1") == BATCH + 3
    assert inbox.erase("o1") == 0
    assert [item.id for item in inbox.find()] == [other.id]


# Views that handle their deliveries themselves.


def begin(inbox: InboxStore, at: float = NOW, lost_before: float = 0, lease: str = "l") -> DeliveryRecord:
    new = delivery(state=DeliveryState.PROCESSING, received_at=at, next_attempt_at=None)
    return inbox.receive(new, window=WINDOW, lease=lease, lost_before=lost_before)


def test_while_a_view_is_at_it_an_equal_one_is_not_kept(inbox: InboxStore) -> None:
    first = begin(inbox)
    with pytest.raises(BeingHandled):
        begin(inbox, NOW + 1)
    assert len(inbox.find()) == 1
    inbox.settle(first.id, "l", {"state": DeliveryState.DONE, "lease": None})
    assert begin(inbox, NOW + 2).state is DeliveryState.DUPLICATE


def test_what_a_view_lost_or_failed_is_taken_again(inbox: InboxStore) -> None:
    lost = begin(inbox)
    second = begin(inbox, NOW + 100, lost_before=NOW + 1, lease="second")
    assert second.id != lost.id
    record = inbox.get(lost.id)
    assert record is not None
    assert (record.state, record.last_error) == (DeliveryState.FAILED, LOST)
    assert not inbox.settle(lost.id, "l", {"state": DeliveryState.DONE})
    inbox.settle(second.id, "second", {"state": DeliveryState.FAILED, "unique_digest": None, "lease": None})
    assert begin(inbox, NOW + 101).state is DeliveryState.PROCESSING


def test_every_statement_finds_its_rows_by_an_index(database: Database, inbox: InboxStore) -> None:
    if database.name != "sqlite":
        pytest.skip("the other engines choose by statistics")
    kept = receive(inbox)
    seen: list[tuple[str, Any]] = []

    def see(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", see)
    receive(inbox)
    inbox.claim(kept.id, lease="l", until=NOW + 60)
    inbox.fence(kept.id, lease="l", new="m")
    inbox.settle(kept.id, "m", {"state": DeliveryState.FAILED})
    inbox.call_due(NOW + 100, until=NOW + 200)
    inbox.next_due()
    inbox.retain(received_after=NOW, most=10)
    inbox.redeliver(kept.id, now=NOW)
    inbox.find(state=DeliveryState.DEAD)
    inbox.find(organization_id="o1")
    inbox.erase("o1")
    event.remove(database.engine, "before_cursor_execute", see)
    with database.engine.connect() as connection:
        plans = {
            statement: [
                row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            for statement, parameters in seen
            if not statement.startswith("INSERT")
        }
    slow = {
        statement: plan
        for statement, plan in plans.items()
        if any(
            "TEMP B-TREE" in step or (step.startswith("SCAN") and "ORDER BY" not in statement)
            for step in plan
        )
    }
    assert len(plans) > 8
    assert slow == {}
