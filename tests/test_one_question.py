"""However many callers come with one new token, the platform is asked once."""

from __future__ import annotations

import gc
import json
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import redis
from blinker import Signal
from flask import Flask

from flask_orbro import OrbroConnect, current_identity, open_api_required, user_required
from flask_orbro.protocol import OPEN_API_PATH, USER_PATH
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, DESCRIPTOR, bearer, need_service

CALLERS = 200
PROCESSES = 4


def add_view(app: Flask) -> None:
    @app.get("/me")
    @user_required
    def me() -> dict[str, str]:
        return {"uuid": current_identity.uuid}


def call_at_once(app: Flask, callers: int, origin: str, token: str) -> Counter[int]:
    """The statuses that so many callers got."""
    statuses: Counter[int] = Counter()
    start = threading.Barrier(callers)

    def call() -> None:
        client = app.test_client()
        start.wait()
        response = client.get("/me", query_string={"origin": origin}, headers=bearer(token))
        statuses[response.status_code] += 1

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_200_callers_in_one_process(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    app = make_app()
    add_view(app)
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    simulator.platform.faults.set(USER_PATH, delay=0.3)
    token = simulator.platform.user_token("acme")
    assert call_at_once(app, CALLERS, origin, token) == {200: CALLERS}
    assert simulator.platform.counts[USER_PATH] == 1


def test_a_fault_is_shared_by_those_who_waited(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    app = make_app()
    add_view(app)
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    simulator.platform.faults.set(USER_PATH, status=500, delay=0.3)
    began = time.monotonic()
    assert call_at_once(app, 50, origin, simulator.platform.user_token("acme")) == {503: 50}
    assert simulator.platform.counts[USER_PATH] == 1
    assert time.monotonic() - began < 3, "they asked in turn"


def test_an_answer_to_what_was_asked_before_a_token_was_forgotten_is_not_remembered(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    add_view(app)
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    token = simulator.platform.user_token("acme")
    inner = simulator.app.wsgi_app

    def forgetting(environ: dict[str, Any], start_response: Any) -> Any:
        """Someone logs out while the answer is on its way."""
        answer = inner(environ, start_response)
        if environ["PATH_INFO"] == USER_PATH and simulator.platform.counts[USER_PATH] == 1:
            with app.app_context():
                orbro.forget(token)
        return answer

    simulator.app.wsgi_app = forgetting  # type: ignore[method-assign]
    for asked in (1, 2, 2):
        assert call_at_once(app, 1, origin, token) == {200: 1}
        assert simulator.platform.counts[USER_PATH] == asked


def call_from_process(
    folder: str, config: dict[str, Any], origin: str, token: str, start: Any, results: Any
) -> None:
    """One process of an app, as a server would fork it."""
    client = redis.Redis.from_url("redis://127.0.0.1:6379/0")
    app = Flask("app", root_path=folder, instance_path=folder)
    app.config.update(config)
    orbro = OrbroConnect(redis=client)
    orbro.init_app(app)
    add_view(app)
    start.wait()
    results.put(dict(call_at_once(app, CALLERS // PROCESSES, origin, token)))
    get_state(app).close()
    client.close()


def test_200_callers_in_four_processes_that_share_redis(
    simulator: SimulatorServer,
    settings: dict[str, Any],
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    need_service("Redis", lambda: redis.Redis.from_url("redis://127.0.0.1:6379/0").ping())
    app = make_app()
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    folder = app.instance_path  # one database for all of them
    assert json.loads((Path(folder) / "connect.json").read_text()) == DESCRIPTOR
    simulator.platform.faults.set(USER_PATH, delay=0.5)
    token = simulator.platform.user_token("acme")

    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    arguments = (folder, settings, origin, token, start, results)
    processes = [context.Process(target=call_from_process, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    statuses: Counter[int] = Counter()
    for _ in processes:
        statuses.update(results.get(timeout=60))
    for process in processes:
        process.join(timeout=30)
        assert process.exitcode == 0
    assert statuses == {200: CALLERS}
    assert simulator.platform.counts[USER_PATH] == 1


def test_two_platforms_that_share_redis_and_a_client_secret_share_no_verdict(
    simulator: SimulatorServer, make_app: Callable[..., Flask]
) -> None:
    client = redis.Redis.from_url("redis://127.0.0.1:6379/0")
    need_service("Redis", client.ping)
    token = simulator.platform.open_api_token()
    with SimulatorServer() as other:
        other.platform.faults.set(OPEN_API_PATH, status=401, body={"error_code": "UNKNOWN"})
        statuses = []
        for platform in (simulator, other):
            app = make_app(OrbroConnect(redis=client), ORBRO_PLATFORM_HOST=platform.platform_host)
            app.add_url_rule("/me", "me", open_api_required(lambda: "in"))
            statuses.append(app.test_client().get("/me", headers=bearer(token)).status_code)
            assert platform.platform.counts[OPEN_API_PATH] == 1
    client.close()
    assert statuses == [200, 401]


def test_a_forgotten_token_is_asked_about_again(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    add_view(app)
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    token = simulator.platform.user_token("acme")
    for asked in (1, 1, 2):
        if asked == 2:
            with app.app_context():
                orbro.forget(token)
            time.sleep(0.01)
        assert call_at_once(app, 1, origin, token) == {200: 1}
        assert simulator.platform.counts[USER_PATH] == asked


def test_who_comes_after_a_token_was_forgotten_does_not_join_who_came_before(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    add_view(app)
    platform = simulator.platform
    assert platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    token = platform.user_token("acme")
    arrived, go = Event(), Event()
    inner = simulator.app.wsgi_app

    def slow_once(environ: dict[str, Any], start_response: Any) -> Any:
        answer = inner(environ, start_response)  # the platform has made up its mind
        if environ["PATH_INFO"] == USER_PATH and not arrived.is_set():
            arrived.set()
            assert go.wait(10)
        return answer

    simulator.app.wsgi_app = slow_once  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(call_at_once, app, 1, origin, token)
        assert arrived.wait(10)
        platform.faults.set(USER_PATH, status=401, body={"error_code": "REVOKED"})
        with app.app_context():
            orbro.forget(token)
        assert call_at_once(app, 1, origin, token) == {401: 1}
        go.set()
        assert before.result(10) == {200: 1}
    assert call_at_once(app, 1, origin, token) == {401: 1}, "the late answer took the newer one's place"


@pytest.mark.parametrize("way", ["call", "signal"])
def test_logging_out_forgets_the_requests_own_token(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    way: str,
) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    add_view(app)
    logged_out = Signal()
    logged_out.connect(orbro.on_logout)

    @app.post("/logout")
    def logout() -> str:
        if way == "call":
            orbro.forget()
        else:
            logged_out.send(app, user="ada")
        return "out"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    headers = bearer(simulator.platform.user_token("acme"))
    client = app.test_client()
    for asked in (1, 1, 2):
        if asked == 2:
            assert client.post("/logout").status_code == 200  # nobody's token: nothing to forget
            assert client.post("/logout", headers=headers).status_code == 200
        assert client.get("/me", query_string={"origin": origin}, headers=headers).status_code == 200
        assert simulator.platform.counts[USER_PATH] == asked
    logged_out.send(app)  # outside of a request: nobody logs out


def test_a_signal_finds_the_object_of_a_factory_for_as_long_as_its_app_lives(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
) -> None:
    logged_out = Signal()

    def create_app() -> Flask:
        app = make_app(orbro := OrbroConnect())
        add_view(app)
        logged_out.connect(orbro.on_logout)
        app.add_url_rule("/logout", "logout", lambda: str(logged_out.send(app)), methods=["POST"])
        return app

    app = create_app()
    gc.collect()
    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    headers = bearer(simulator.platform.user_token("acme"))
    client = app.test_client()
    for asked in (1, 2):
        assert client.get("/me", query_string={"origin": origin}, headers=headers).status_code == 200
        assert simulator.platform.counts[USER_PATH] == asked
        assert client.post("/logout", headers=headers).status_code == 200
