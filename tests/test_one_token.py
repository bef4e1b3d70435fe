"""However many threads and processes call at the moment of expiry, one token is made."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask import Flask

from flask_orbro import OrbroConnect
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, need_service

REDIS = "redis://127.0.0.1:6379/0"
PROCESSES, THREADS = 4, 64
USERS = "/api/v1/users"


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
        statuses.append(platform.get(USERS).status_code)

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    start.wait()
    ready.wait()
    for thread in threads:
        thread.join()
    results.put(statuses)
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
    app = make_app()
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    shown: list[str] = []
    inner = simulator.app.wsgi_app

    def watching(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == USERS:
            shown.append(environ["HTTP_AUTHORIZATION"])
        return inner(environ, start_response)

    simulator.app.wsgi_app = watching  # type: ignore[method-assign]
    organization_id = simulator.platform.organization("acme").id
    # A life of its own for each process's tokens: else two that are minted in one second are one.
    lives = [{"ORBRO_TOKEN_LIFETIME": 1800 + 10 * number} for number in range(PROCESSES)]
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(
            target=call_from_process,
            args=(app.instance_path, settings | life, organization_id, shared, start, results),
        )
        for life in lives
    ]
    for process in processes:
        process.start()
    statuses = [status for _ in processes for status in results.get(timeout=60)]
    for process in processes:
        process.join(timeout=30)
        assert process.exitcode == 0
    assert statuses == [200] * PROCESSES * THREADS
    assert len(shown) == PROCESSES * THREADS
    assert len(set(shown)) == made
