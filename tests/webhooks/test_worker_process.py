"""``flask orbro worker``: a process that works the inbox, whatever happens to its database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from flask_orbro.models import map_models
from flask_orbro.storage import sqlite_file
from flask_orbro.stores.delivery_record import DeliveryRecord, DeliveryState
from flask_orbro.stores.inbox import InboxStore

PROGRAM = """
import os, time
from pathlib import Path
from flask import Flask
from flask_orbro import OrbroConnect

folder = os.environ["FOLDER"]
app = Flask("program", root_path=folder, instance_path=folder)
app.config.from_prefixed_env()
orbro = OrbroConnect(app)
at_once = 0

@orbro.on("e", path="/e")
def handler(delivery):
    global at_once
    at_once += 1
    try:
        Path(folder, f"at-once-{at_once}").touch()
        time.sleep(delivery.payload["seconds"])
        if delivery.attempt <= delivery.payload.get("failures", 0):
            raise ValueError
    finally:
        at_once -= 1
    Path(folder, f"done-{delivery.id}").touch()
"""


class Base(DeclarativeBase):
    pass


MODELS = map_models(Base)


class Inbox:
    """The inbox of the program in a folder, as another process sees it."""

    def __init__(self, folder: Path) -> None:
        (folder / "program.py").write_text(PROGRAM)
        (folder / "connect.json").write_text('{"id": "x"}')
        self.folder = folder
        self.engine: Engine = create_engine(f"sqlite:///{folder}/{sqlite_file('c')}")
        Base.metadata.create_all(self.engine)
        self.store = InboxStore(sessionmaker(self.engine), MODELS)

    def put(self, seconds: float = 0, **payload: int) -> int:
        body = json.dumps({"seconds": seconds, **payload}).encode()
        now = time.time()
        new = DeliveryRecord(
            organization_id="o", user_id=None, event="e", path="/e", payload=body,
            headers={}, trace_id="t", digest=str(now), received_at=now, next_attempt_at=now,
        )  # fmt: skip
        return self.store.receive(new, window=0).id

    def rename(self, old: str, new: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    @contextmanager
    def worker(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        settings |= {"CLIENT_ID": "c", "CLIENT_SECRET": "s" * 40}
        environment = os.environ | {f"FLASK_ORBRO_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "flask", "--app", "program", "orbro", "worker", *arguments]
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment | {"FOLDER": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def wait_for(self, condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.log
            assert process.poll() is None, self.log
            time.sleep(0.05)

    def wait_for_count(self, count: int, state: DeliveryState, process: subprocess.Popen[bytes]) -> None:
        self.wait_for(lambda: self.store.count(state) == count, process)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    made = Inbox(tmp_path)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_works_the_inbox_until_it_is_told_to_end(inbox: Inbox, signal_number: int) -> None:
    for _ in range(5):
        inbox.put()
    with inbox.worker("--threads", "2") as process:
        inbox.wait_for_count(5, DeliveryState.DONE, process)
        slow = inbox.put(seconds=1)
        inbox.wait_for_count(1, DeliveryState.PROCESSING, process)
        process.send_signal(signal_number)
        assert process.wait(30) == 0, inbox.log
    assert "Finishing what is under way." in inbox.log
    assert (inbox.folder / f"done-{slow}").exists()
    assert inbox.store.count(DeliveryState.DONE) == 6


def test_it_goes_on_once_its_database_is_back(inbox: Inbox) -> None:
    table = MODELS.delivery.__tablename__
    with inbox.worker() as process:
        inbox.put()
        inbox.wait_for_count(1, DeliveryState.DONE, process)
        inbox.rename(table, "gone")
        inbox.wait_for(lambda: "The inbox cannot be swept now" in inbox.log, process)
        inbox.rename("gone", table)
        inbox.put()
        inbox.wait_for_count(2, DeliveryState.DONE, process)
    assert "Traceback" not in inbox.log


def test_it_runs_as_many_handlers_at_once_as_it_is_told_to(inbox: Inbox) -> None:
    for _ in range(10):
        inbox.put(seconds=0.1, failures=1)
    with inbox.worker("--threads", "1", HANDLER_BACKOFF="0.1") as process:
        inbox.wait_for_count(10, DeliveryState.DONE, process)
    assert {row.attempts for row in inbox.store.find()} == {2}
    assert [path.name for path in inbox.folder.glob("at-once-*")] == ["at-once-1"]
