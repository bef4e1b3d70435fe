"""However many threads and processes call at the moment of expiry, one token is made."""

from __future__ import annotations

import multiprocessing
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask import Flask

from flask_orbro import OrbroConnect
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from ..conftest import CLIENT_ID, need_service
from ..world import USERS_PATH

REDIS = "redis://127.0.0.1:6379/0"
PROCESSES, THREADS = 4, 64


def call_from_process(
    folder: str, config: dict[str, Any], organization_id: str, shared: bool, start: Any, results: Any
) -> None:
    """One process of an app: every thread calls at once, with no token made yet."""
    client = redis.Redis.from_url(REDIS) if shared else None
    app = Flask("app", root_path=folder, instance_path=folder)
    app.config.update(config)
    orbro = OrbroConnect(redis=client)
    orbro.init_app(app)
    platform = orbro.client_for(organization_id, app=app)
    ready = threading.Barrier(THREADS + 1)
    statuses: list[int] = []

    def call() -> None:
        ready.wait()
        statuses.append(platform.get(USERS_PATH).status_code)

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    start.wait()
    ready.wait()
    for thread in threads:
        thread.join()
    start.wait()
    with app.app_context():
        made = orbro.metrics_registry.get_sample_value("orbro_tokens_total")
        if shared:
            orbro.token_store.delete(organization_id)
    results.put((statuses, made))
    get_state(app).close()
    if client is not None:
        client.close()


@pytest.mark.parametrize(("shared", "made"), [(True, 1), (False, PROCESSES)], ids=["Redis", "memory"])
def test_one_token_is_made(
    simulator: SimulatorServer,
    settings: dict[str, Any],
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    shared: bool,
    made: int,
) -> None:
    if shared:
        need_service("Redis", lambda: redis.Redis.from_url(REDIS).ping())
    config = {"ORBRO_CLIENT_SECRET": uuid.uuid4().hex * 2, "ORBRO_METRICS": True}
    app = make_app(**config)
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    organization_id = simulator.platform.organization("acme").id
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    arguments = (app.instance_path, settings | config, organization_id, shared, start, results)
    processes = [context.Process(target=call_from_process, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=30)
        assert process.exitcode == 0
    assert [status for statuses, _ in found for status in statuses] == [200] * PROCESSES * THREADS
    assert sum(count for _, count in found) == made
