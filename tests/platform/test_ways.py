"""A call can be made anywhere: in views, commands, threads, other processes, an event loop of one's own."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, current_app

from flask_orbro import (
    ConfigurationError,
    NotAllowed,
    NotInitializedError,
    OrbroConnect,
    user_required,
)
from flask_orbro.http.event_loop import LoopThread
from flask_orbro.state import get_state

from ..world import USERS_PATH, World
from .conftest import MakeWorld, client_of, tokens_of

OPEN_PATH = "/openapi/v1/users"


def connections_to(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections that the platform accepts, filled as they come."""
    opened: list[Any] = []
    server: Any = world.simulator._server
    accept = server.process_request
    monkeypatch.setattr(server, "process_request", lambda *call: (opened.append(call), accept(*call)))
    return opened


def test_in_a_thread_and_in_an_app_context(make_world: MakeWorld) -> None:
    world = make_world()
    with world.app.app_context():
        assert world.orbro.client_for(world.organization_id).get(USERS_PATH).status_code == 200
    client = client_of(world)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(client.get, USERS_PATH).result(5).status_code == 200
    with pytest.raises(NotInitializedError, match="app_context"):
        world.orbro.client_for(world.organization_id)


def test_without_any_app_context(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_CONNECTIONS={"back": {"url": "http://localhost", "auth": {"kind": "none"}}})
    other = make_world(install=False, ORBRO_OPEN_API_TOKEN="of-the-other-app")
    there = world.orbro.for_app(world.app)

    async def main() -> list[int]:
        clients = (there.async_client_for(world.organization_id), there.async_open_api_client)
        paths = (USERS_PATH, OPEN_PATH)
        return [(await client.get(path)).status_code for client, path in zip(clients, paths, strict=True)]

    with other.app.app_context():
        assert other.orbro.open_api_client.get(OPEN_PATH).status_code == 401
        assert there.open_api_client.get(OPEN_PATH).status_code == 200, "its own token, in another's context"
    assert there.client_for(world.organization_id).get(USERS_PATH).status_code == 200
    assert asyncio.run(main()) == [200, 200]
    assert there.token_store.get_token(world.organization_id) is not None
    assert there.token_util.issue_token("s" * 40, "u-1", 60)
    assert there.client_info_store.get_by_organization_id(world.organization_id) is not None
    assert there.connections["back"].name == there.async_connections["back"].name == "back"
    for name in ("open_api_client", "async_open_api_client", "token_store", "token_util", "connections"):
        with pytest.raises(NotInitializedError, match="for_app"):
            getattr(world.orbro, name)
    with pytest.raises(NotInitializedError, match="init_app"):
        _ = world.orbro.for_app(Flask("another")).token_store


def test_in_a_command(make_world: MakeWorld) -> None:
    world = make_world(install=False)

    @world.app.cli.command("count-users")
    def count_users() -> None:
        client = world.orbro.client_for(world.organization_id)
        print(len(client.get(USERS_PATH).raise_for_status().json()["data"]))

    @world.app.cli.command("count-later")
    def count_later() -> None:
        async def count() -> int:
            client = world.orbro.async_client_for(world.organization_id)
            return len((await client.get(USERS_PATH)).raise_for_status().json()["data"])

        print(asyncio.run(count()))

    world.install()
    for command in ("count-users", "count-later"):
        done = world.app.test_cli_runner().invoke(args=[command])
        assert (done.exit_code, done.output) == (0, "1\n"), done.exception


def test_in_a_process_that_was_forked(make_world: MakeWorld) -> None:
    world = make_world(install=False)

    @world.app.get("/later")
    @user_required
    async def later() -> Any:
        return (await world.orbro.async_client().get(USERS_PATH)).raise_for_status().json()

    world.install()
    token = world.platform.user_token("acme")

    def both() -> list[int]:
        return [client_of(world).get(USERS_PATH).status_code, world.get("/later", token).status_code]

    assert both() == [200, 200]
    child = os.fork()
    if child == 0:  # neither connections nor threads are the parent's to share
        statuses: list[int] = []
        try:
            statuses = both()
            get_state(world.app).close()
        finally:
            os._exit(0 if statuses == [200, 200] else 1)
    for _ in range(100):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    assert both() == [200, 200], "nor the child's to end"


def test_an_organization_is_named_by_its_subdomain_or_by_who_installed_it(make_world: MakeWorld) -> None:
    world = make_world()
    user_id = world.platform.installation("acme").installed_user_id
    with world.app.app_context():
        for named in ({"subdomain": "ACME"}, {"user_id": user_id}):
            assert world.orbro.client_for(**named).get(USERS_PATH).status_code == 200
            assert world.orbro.async_client_for(**named).origin == world.origin()
        for unknown in ({"subdomain": "nobody"}, {"user_id": "nobody"}, {}):
            with pytest.raises(NotAllowed):
                world.orbro.client_for(**unknown)


def test_with_the_developers_own_token(make_world: MakeWorld, settings: dict[str, Any]) -> None:
    world = make_world(install=False)
    with world.app.app_context():
        client, async_client = world.orbro.open_api_client, world.orbro.async_open_api_client
    for response in (client.get(OPEN_PATH), asyncio.run(get(async_client, OPEN_PATH))):
        assert (response.status_code, len(response.json()["data"])) == (200, 1)
    assert tokens_of(world, OPEN_PATH) == [settings["ORBRO_OPEN_API_TOKEN"]] * 2


async def get(client: Any, path: str = USERS_PATH) -> Any:
    return await client.get(path)


def test_without_the_developers_own_token_the_setting_is_named(make_world: MakeWorld) -> None:
    world = make_world(install=False, ORBRO_OPEN_API_TOKEN=None)
    with world.app.app_context():
        for name in ("open_api_client", "async_open_api_client"):
            with pytest.raises(ConfigurationError, match="ORBRO_OPEN_API_TOKEN"):
                getattr(world.orbro, name)


def test_calls_of_one_event_loop_share_connections(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    opened = connections_to(world, monkeypatch)

    async def many() -> list[int]:
        client = world.orbro.async_client_for(world.organization_id, app=world.app)
        statuses = [(await client.get(USERS_PATH)).status_code for _ in range(10)]
        assert len(opened) == 1
        calls: list[Any] = [client.get(USERS_PATH) for _ in range(20)]
        return statuses + [response.status_code for response in await asyncio.gather(*calls)]

    assert asyncio.run(many()) == [200] * 30
    assert len(opened) <= 20
    assert get_state(world.app).loop_thread._thread is None, "a program has a loop of its own"


@pytest.fixture
def async_views(make_world: MakeWorld) -> World:
    """``/later`` calls the platform, ``/impatient`` waits for it for half a second."""
    world = make_world(install=False)

    @world.app.get("/later")
    @user_required
    async def later() -> Any:
        return (await world.orbro.async_client().get(USERS_PATH)).raise_for_status().json()

    @world.app.get("/impatient")
    async def impatient() -> Any:
        client = world.orbro.async_client_for(world.organization_id)
        try:
            async with asyncio.timeout(0.5):
                return (await client.get(USERS_PATH)).json()
        except TimeoutError:
            return {"app": current_app.name, "waited": "enough"}

    world.install()
    return world


def test_async_views_share_connections(async_views: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = connections_to(async_views, monkeypatch)
    token = async_views.platform.user_token("acme")
    async_views.get("/later", token)
    opened.clear()
    for _ in range(10):
        assert async_views.get("/later", token).status_code == 200
    assert opened == []
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: async_views.get("/later", token).status_code, range(40)))
    assert answers == [200] * 40
    assert len(opened) <= 8


def test_an_async_view_may_lose_its_patience(async_views: World) -> None:
    async_views.platform.faults.set(USERS_PATH, delay=5)
    began = time.monotonic()
    assert async_views.get("/impatient").json == {"app": async_views.app.name, "waited": "enough"}
    assert time.monotonic() - began < 3, "neither the view nor its loop waits for the call"
    async_views.platform.faults.clear()
    assert b"admin" in async_views.get("/impatient").data


def test_closing_ends_the_loop_and_the_next_call_begins_another(async_views: World) -> None:
    state, token = get_state(async_views.app), async_views.platform.user_token("acme")
    for _ in range(2):
        assert async_views.get("/later", token).status_code == 200
        thread = state.loop_thread._thread
        assert thread is not None
        state.close()
        assert not thread.is_alive()
    state.close()


def test_the_loop_is_started_once_by_many() -> None:
    loop_thread = LoopThread()
    start = threading.Barrier(16)

    def loop(_: int) -> Any:
        start.wait()
        return loop_thread.loop

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(loop, range(16)))) == 1
    loop_thread.close()
    loop_thread.close()


AT_EXIT = """
import atexit, json, sys

kept = {}
# Registered first, called last.
atexit.register(lambda: print(kept["http"]._client, kept["thread"].is_alive()))

from flask import Flask
from flask_orbro import OrbroConnect
from flask_orbro.state import get_state

folder, config = sys.argv[1:]
app = Flask("app", root_path=folder, instance_path=folder)
app.config.update(json.loads(config))
orbro = OrbroConnect(app)

@app.get("/")
async def view():
    return {"status": (await orbro.async_open_api_client.get("/openapi/v1/users")).status_code}

with app.app_context():
    assert orbro.open_api_client.get("/openapi/v1/users").status_code == 200
assert app.test_client().get("/").json == {"status": 200}
kept.update(http=get_state(app).http, thread=get_state(app).loop_thread._thread)
assert kept["http"]._client and kept["thread"].is_alive()
"""


def test_everything_is_closed_at_exit_and_nothing_complains(
    make_world: MakeWorld, settings: dict[str, Any]
) -> None:
    world = make_world(install=False)
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-c",
            AT_EXIT,
            world.app.root_path,
            json.dumps(settings),
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    # asyncio says how long a step took where that is long for a machine with nothing else to do.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, done.stdout, said) == (0, "None False\n", [])


def test_an_app_that_is_gone_keeps_no_connection(make_world: MakeWorld, settings: dict[str, Any]) -> None:
    folder = make_world(install=False).app.root_path
    app = Flask("another", root_path=folder, instance_path=folder)
    app.config.update(settings)
    orbro = OrbroConnect(app)
    with app.app_context():
        assert orbro.open_api_client.get(OPEN_PATH).status_code == 200
    http = get_state(app).http
    assert http._client is not None
    del app
    gc.collect()
    assert http._client is None


def test_connections_of_async_views_are_kept_too(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(install=False)
    definition = {"url": world.simulator.url, "auth": {"kind": "none"}}
    world = make_world(ORBRO_CONNECTIONS={"back": definition}, install=False)

    @world.app.get("/back")
    async def back() -> dict[str, int]:
        return {"status": (await world.orbro.async_connections["back"].get("/simulator")).status_code}

    opened = connections_to(world, monkeypatch)
    assert [world.client.get("/back").json for _ in range(10)] == [{"status": 200}] * 10
    assert len(opened) == 1
