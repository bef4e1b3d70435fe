"""Celery as the doorbell, with real brokers and a real worker process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from kombu import Connection
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from benchmarks.inbox.tcp_proxy import TcpProxy
from flask_orbro import ConfigurationError, Delivery, OrbroConnect
from flask_orbro.storage import sqlite_file
from flask_orbro.stores.delivery_record import DeliveryState
from flask_orbro.webhooks.doorbells import QUEUED

from ..conftest import CLIENT_SECRET, ENCRYPTION_KEY, need_service
from .conftest import EVENT, EVENTS, InboxWorld

BROKERS = {"redis": ("redis://127.0.0.1:{}/9", 6379), "rabbitmq": ("amqp://guest:guest@127.0.0.1:{}//", 5672)}
PROGRAM = f"""
import os, time
from pathlib import Path
from flask import Flask
from flask_orbro import OrbroConnect

folder = os.environ["FOLDER"]
orbro = OrbroConnect()

@orbro.on({EVENT!r}, path={EVENTS!r}, time_limit=2)
def handler(delivery):
    with open(os.path.join(folder, "handled"), "a") as file:
        file.write(f"{{delivery.id}} {{os.getpid()}}\\n")
    if delivery.attempt == 1:
        time.sleep(delivery.payload.get("wait", 0))

app = Flask("program", root_path=folder, instance_path=folder)
app.config.from_prefixed_env()
orbro.init_app(app)
with app.app_context():
    celery_app = orbro.celery_app
celery_app.conf.worker_enable_remote_control = False
"""


class Broker:
    """A broker behind a proxy of ours, and an app's queue there."""

    def __init__(self, name: str, proxy: TcpProxy) -> None:
        url, port = BROKERS[name]
        self.name, self.proxy = name, proxy
        self.direct, self.url = url.format(port), url.format(proxy.port)
        self.client_id = f"tests-{uuid.uuid4().hex[:12]}"

    @property
    def queue(self) -> str:
        return f"orbro.{self.client_id}"

    def probe(self) -> None:
        with Connection(self.direct, connect_timeout=3) as connection:
            connection.connect()

    def clean(self) -> None:
        with Connection(self.direct) as connection:
            connection.default_channel.queue_delete(self.queue)
            if self.name == "redis":
                # Kombu deletes what it has declared on the same connection, and nothing else.
                bindings = (f"_kombu.{kind}.{self.queue}" for kind in ("binding", "binding_permanent"))
                connection.default_channel.client.delete(self.queue, *bindings)
            else:
                connection.default_channel.exchange_delete(self.queue)


@pytest.fixture(params=list(BROKERS))
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    port = BROKERS[request.param][1]
    with TcpProxy(port) as proxy:
        made = Broker(request.param, proxy)
        need_service(request.param, made.probe)
        yield made
        proxy.mend()
        made.clean()


@contextmanager
def worker(folder: Path, broker: Broker, concurrency: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker that works the inbox of the app in the folder."""
    (folder / "program.py").write_text(PROGRAM)
    (folder / "connect.json").write_text('{"id": "x"}')
    environment = os.environ | {
        "FOLDER": str(folder),
        "FLASK_ORBRO_CLIENT_ID": broker.client_id,
        "FLASK_ORBRO_CLIENT_SECRET": CLIENT_SECRET,
        "FLASK_ORBRO_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "FLASK_ORBRO_WORKER": "celery",
        "FLASK_ORBRO_CELERY_BROKER_URL": broker.url,
        "PYTHONPATH": f"{folder}:{Path(__file__).parent.parent.parent}",
    }
    command = [sys.executable, "-m", "celery", "-A", "program:celery_app", "worker", "-c", str(concurrency)]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "warning"]
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *quiet], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def celery_world(
    make_inbox_world: Callable[..., InboxWorld], broker: Broker, tmp_path: Path
) -> Callable[..., InboxWorld]:
    def make(**options: Any) -> InboxWorld:
        file = tmp_path / sqlite_file(broker.client_id)  # which the worker opens as its own
        sessions = sessionmaker(create_engine(f"sqlite:///{file}"))
        orbro = options.pop("orbro", None) or OrbroConnect(db_session_maker=sessions)

        # The web process never runs it.
        @orbro.on(EVENT, path=EVENTS, time_limit=2)
        def handler(delivery: Delivery) -> None:
            raise AssertionError("not here")

        handler.__module__, handler.__qualname__ = "program", "handler"
        usual = {
            "ORBRO_CLIENT_ID": broker.client_id,
            "ORBRO_WORKER": "celery",
            "ORBRO_CELERY_BROKER_URL": broker.url,
            "ORBRO_WORKER_PATIENCE": 3.0,
            "ORBRO_SWEEPER": True,
        }
        return make_inbox_world(orbro=orbro, **(usual | options))

    return make


def handled(folder: Path) -> list[int]:
    file = folder / "handled"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def all_done(world: InboxWorld) -> bool:
    return {row.state for row in world.rows} == {DeliveryState.DONE}


def test_a_worker_process_handles_what_the_web_process_keeps(
    celery_world: Callable[..., InboxWorld], broker: Broker, tmp_path: Path
) -> None:
    world = celery_world()
    with worker(tmp_path, broker, concurrency=2):
        for _ in range(20):
            assert world.send().status_code == 202
        world.wait_until(lambda: all_done(world), 40)
        assert sorted(handled(tmp_path)) == [row.id for row in world.rows]


def test_while_the_broker_is_gone_deliveries_are_acknowledged_and_handled_once_it_is_back(
    celery_world: Callable[..., InboxWorld], broker: Broker, tmp_path: Path
) -> None:
    world = celery_world()
    with worker(tmp_path, broker):
        world.send()
        world.wait_until(lambda: all_done(world), 40)
        for trouble in (broker.proxy.cut, broker.proxy.silence):
            trouble()
            slowest = 0.0
            for _ in range(10):
                began = time.monotonic()
                assert world.send().status_code == 202
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.05)
            assert slowest < 1  # the broker's own time-outs are 3 s and more
            assert [row.state for row in world.rows[-10:]] == [DeliveryState.RECEIVED] * 10
            broker.proxy.mend()
            world.wait_until(lambda: all_done(world), 60)
    assert set(handled(tmp_path)) == {row.id for row in world.rows}


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_worker_goes_on_after_an_acknowledgement_that_failed(
    celery_world: Callable[..., InboxWorld], broker: Broker, tmp_path: Path
) -> None:
    world = celery_world()
    with worker(tmp_path, broker):
        world.send(json={"event_name": EVENT, "wait": 1})
        world.wait_until(lambda: handled(tmp_path), 40)
        broker.proxy.hang()
        world.wait_until(lambda: all_done(world))
        world.wait_until(lambda: "Couldn't ack" in (tmp_path / "worker.log").read_text(), 20)
        broker.proxy.mend()
        world.send()
        world.wait_until(lambda: all_done(world), 30)


def test_a_sweep_that_could_not_ask_the_broker_asks_it_again(
    celery_world: Callable[..., InboxWorld], broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    bell = celery_world(ORBRO_SWEEPER=False, install=False).inbox.doorbell
    assert bell.room_for_sweep == QUEUED
    broker.proxy.cut()
    for _ in range(2):
        assert bell.room_for_sweep == 0
    assert caplog.text.count("The broker does not tell") == 2
    broker.proxy.mend()
    assert bell.room_for_sweep == QUEUED


def test_what_a_killed_worker_was_at_is_handled_by_the_next(
    celery_world: Callable[..., InboxWorld], broker: Broker, tmp_path: Path
) -> None:
    world = celery_world()
    with worker(tmp_path, broker) as process:
        world.send(json={"event_name": EVENT, "wait": 30})
        world.wait_until(lambda: handled(tmp_path), 40)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert world.rows[0].state is DeliveryState.PROCESSING
    with worker(tmp_path, broker):
        world.wait_until(lambda: all_done(world), 60)
    assert world.rows[0].attempts == 2


def test_messages_are_ids_and_tasks_are_named(
    make_app: Callable[..., Flask], broker: Broker, make_inbox_world: Callable[..., InboxWorld]
) -> None:
    own = Celery("own", broker=broker.direct, set_as_current=False)
    own.conf.task_default_queue = broker.queue
    world = make_inbox_world(
        orbro=OrbroConnect(celery_app=own),
        handlers=lambda orbro: orbro.on(EVENT, path=EVENTS)(lambda delivery: None),
        ORBRO_WORKER="celery",
        ORBRO_CLIENT_ID=broker.client_id,
        install=False,
    )
    with world.app.app_context():
        assert world.orbro.celery_app is own
    name = f"orbro.{broker.client_id}.handle_delivery"
    task = own.tasks[name]
    assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True)
    sweeping = f"orbro.{broker.client_id}.sweep_deliveries"
    assert own.conf.beat_schedule[sweeping]["task"] == sweeping
    assert own.tasks[sweeping]() is None
    world.inbox.doorbell.ring(42)
    with Connection(broker.direct) as connection, connection.SimpleQueue(broker.queue) as queue:
        message = queue.get(timeout=10)
        message.ack()
    assert message.headers["task"] == name
    assert json.loads(message.body)[0] == [42]


def test_a_missing_broker_is_named(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(ConfigurationError, match="ORBRO_CELERY_BROKER_URL"):
        make_app(ORBRO_WORKER="celery")


def test_a_missing_celery_is_named(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigurationError, match=r"flask-orbro\[celery\]"):
        make_app(ORBRO_WORKER="celery", ORBRO_CELERY_BROKER_URL="redis://127.0.0.1/9")


def test_without_celery_there_is_no_celery_app(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    with make_app(orbro).app_context(), pytest.raises(ConfigurationError, match="ORBRO_WORKER"):
        _ = orbro.celery_app
