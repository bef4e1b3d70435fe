"""Threads that handle deliveries: how many, in which process, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_orbro import Delivery, OrbroConnect
from flask_orbro.stores.delivery_record import DeliveryState
from flask_orbro.webhooks import ThreadDoorbell, doorbells
from flask_orbro.webhooks.time_limit import TimeLimiter, TimeLimitExceeded

from .conftest import EVENT, EVENTS, InboxWorld


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Busy:
    """Handles deliveries when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self.at_once = self.most = 0
        self.handled: list[int] = []

    def __call__(self, delivery_id: int) -> None:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.go_on.wait(10)
        with self.lock:
            self.at_once -= 1
            self.handled.append(delivery_id)


def test_no_more_threads_than_told_and_each_delivery_once(started_threads: list[str]) -> None:
    busy = Busy()
    bell = ThreadDoorbell(busy, threads=3, drain=10)
    assert not started_threads
    for delivery_id in [*range(20), *range(20)]:
        bell.ring(delivery_id)
    until(lambda: busy.at_once == 3)
    busy.go_on.set()
    bell.close(10)
    assert sorted(busy.handled) == list(range(20))
    assert busy.most == 3
    bell.ring(99)
    assert 99 not in busy.handled


def test_there_is_only_so_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbells, "QUEUED", 5)
    busy = Busy()
    bell = ThreadDoorbell(busy, threads=1, drain=10)
    for delivery_id in range(5):
        assert bell.room == 5 - delivery_id
        bell.ring(delivery_id)
    assert bell.room == 0
    # Who was told that there is room a moment ago is not turned away.
    bell.ring(5)
    busy.go_on.set()
    bell.close(10)
    assert busy.handled == [0, 1, 2, 3, 4, 5]


def test_closing_finishes_what_is_under_way_and_waits_no_longer_than_told() -> None:
    busy = Busy()
    bell = ThreadDoorbell(busy, threads=1, drain=10)
    for delivery_id in range(3):
        bell.ring(delivery_id)
    until(lambda: busy.at_once == 1)
    began = time.monotonic()
    bell.close(0.2)
    assert time.monotonic() - began < 5
    busy.go_on.set()
    until(lambda: busy.handled == [0])
    time.sleep(0.1)
    assert busy.handled == [0]


def test_what_cannot_be_done_now_is_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbells, "OUTAGE_MEMORY", 0.05)
    failures, handled = [OSError("down")] * 3, []

    def handle(delivery_id: int) -> None:
        if failures:
            raise failures.pop()
        handled.append(delivery_id)

    bell = ThreadDoorbell(handle, threads=1, drain=10)
    bell.ring(1)
    until(lambda: bell.room == 0)
    until(lambda: handled == [1])
    assert bell.room > 0
    bell.close(10)


def test_after_a_fork_a_process_has_threads_of_its_own() -> None:
    busy = Busy()
    busy.go_on.set()
    bell = ThreadDoorbell(busy, threads=2, drain=10)
    bell.ring(1)
    until(lambda: busy.handled == [1])
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            bell.ring(2)
            deadline = time.monotonic() + 10
            while 2 not in busy.handled and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            os._exit(0 if 2 in busy.handled else 1)
    assert os.waitpid(child, 0)[1] == 0
    bell.close(10)
    assert busy.handled == [1]


def test_a_limiter_uses_its_threads_again() -> None:
    limiter = TimeLimiter()
    names: list[Any] = []
    for _ in range(5):
        limiter.run(lambda: names.append(threading.get_ident()), 1)
    assert len(set(names)) == 1
    go_on = threading.Event()
    with pytest.raises(TimeLimitExceeded):
        limiter.run(lambda: names.append(go_on.wait(10)), 0.05)
    limiter.run(lambda: names.append(threading.get_ident()), 1)
    assert names[-1] != names[0]
    go_on.set()
    limiter.close()


def test_a_burst_beyond_the_room_is_handled_all_the_same(
    make_inbox_world: Callable[..., InboxWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbells, "QUEUED", 3)

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS)
        def handler(delivery: Delivery) -> None:
            time.sleep(0.02)

    world = make_inbox_world(
        handlers=register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=1, ORBRO_SWEEPER=True
    )
    for _ in range(30):
        assert world.send().status_code == 202
    world.wait_until(lambda: {row.state for row in world.rows} == {DeliveryState.DONE}, seconds=30)
    assert {row.attempts for row in world.rows} == {1}


@pytest.mark.parametrize("threads", [0, 1])
def test_who_is_turned_away_has_no_sweep_of_its_own(
    make_inbox_world: Callable[..., InboxWorld], monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(doorbells, "QUEUED", 1)
    go_on = threading.Event()

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS)
        def handler(delivery: Delivery) -> None:
            go_on.wait(20)

    world = make_inbox_world(
        handlers=register, ORBRO_WORKER="thread", ORBRO_WORKER_THREADS=threads, ORBRO_SWEEPER=True
    )
    sweeps: list[float | None] = []
    sweep = world.inbox.sweeper._sweep

    def counted() -> float | None:
        sweeps.append(sweep())
        return sweeps[-1]

    monkeypatch.setattr(world.inbox.sweeper, "_sweep", counted)
    began = time.monotonic()
    for _ in range(40):
        assert world.send().status_code == 202
    if threads:
        # One each second; another one where a delivery comes in the midst of it.
        assert len(sweeps) <= 2 * (time.monotonic() - began + 1)
    else:
        assert len(sweeps) <= 1
    go_on.set()


def test_what_failed_is_tried_again_by_the_process_itself(
    make_inbox_world: Callable[..., InboxWorld],
) -> None:
    attempts: list[int] = []

    def register(orbro: OrbroConnect) -> None:
        @orbro.on(EVENT, path=EVENTS)
        def handler(delivery: Delivery) -> None:
            attempts.append(delivery.attempt)
            if delivery.attempt < 3:
                raise ValueError

    world = make_inbox_world(
        handlers=register, ORBRO_WORKER="thread", ORBRO_SWEEPER=True, ORBRO_HANDLER_BACKOFF=0.1
    )
    world.send()
    world.wait_until(lambda: world.rows[0].state is DeliveryState.DONE)
    assert attempts == [1, 2, 3]


PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from flask import Flask
from flask_orbro import OrbroConnect
from flask_orbro.crypto import new_key
from flask_orbro.state import get_state
from flask_orbro.stores.delivery_record import DeliveryRecord

folder = sys.argv[1]
app = Flask("program", root_path=folder, instance_path=folder)
app.config.update(ORBRO_CLIENT_ID="c", ORBRO_CLIENT_SECRET="s" * 40, ORBRO_WORKER_THREADS=2)
app.config["ORBRO_ENCRYPTION_KEYS"] = new_key()
orbro = OrbroConnect(app)

def work(delivery):
    time.sleep(0.3)
    Path(folder, f"done-{delivery.id}").touch()

async def work_async(delivery):
    await asyncio.sleep(0.3)
    Path(folder, f"done-{delivery.id}").touch()

orbro.on("e", path="/e")(work_async if sys.argv[2] == "async" else work)
inbox = get_state(app).inbox
for number in range(4):
    new = DeliveryRecord(organization_id="o", user_id=None, event="e", path="/e", payload=b"{}", headers={},
        trace_id="t", digest=str(number), received_at=time.time(), next_attempt_at=time.time() + 60)
    inbox.doorbell.ring(inbox.store.receive(new, window=1).id)
"""


@pytest.mark.parametrize("handler", ["sync", "async"])
def test_a_process_that_ends_finishes_what_it_has_begun(tmp_path: Path, handler: str) -> None:
    (tmp_path / "connect.json").write_text('{"id": "x"}')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path), handler],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("done-*"))) == 4
