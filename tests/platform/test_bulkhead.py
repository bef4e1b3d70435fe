"""A slow platform takes neither every thread nor one connection of the database."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine, QueuePool, create_engine, text
from sqlalchemy.orm import sessionmaker

from flask_orbro import OrbroConnect, PlatformUnavailable, user_required

from ..conftest import bearer, need_service
from ..world import USER_PATH, USERS_PATH, World
from .conftest import MakeWorld, client_of

POSTGRESQL = "postgresql+psycopg://postgres@127.0.0.1:5432/"
CALLERS = 64


def test_calls_for_one_organization_are_bounded(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_CALLS_PER_ORGANIZATION=2, ORBRO_METRICS=True)
    world.install("other")
    world.platform.faults.set(USERS_PATH, organization="acme", delay=2)
    waiting = threading.Semaphore(0)
    world.watch(lambda environ: environ["PATH_INFO"] == USERS_PATH and waiting.release())
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(client_of(world).get, USERS_PATH) for _ in range(2)]
        for _ in calls:
            assert waiting.acquire(timeout=5)
        for _ in range(4):
            with pytest.raises(PlatformUnavailable) as raised:
                client_of(world).get(USERS_PATH)
            assert raised.value.retry_after == 1
        assert client_of(world, "other").get(USERS_PATH).status_code == 200
        assert not any(call.done() for call in calls)
        assert [call.result(10).status_code for call in calls] == [200, 200]
    world.platform.faults.clear()
    assert client_of(world).get(USERS_PATH).status_code == 200
    with world.app.app_context():
        sample = world.orbro.metrics_registry.get_sample_value
    assert sample("orbro_call_seconds_count", {"method": "GET", "outcome": "full"}) == 4


def test_calls_of_one_event_loop_are_bounded_too(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_CALLS_PER_ORGANIZATION=2)
    world.platform.faults.set(USERS_PATH, delay=0.3)

    async def many() -> Counter[str]:
        client = world.orbro.async_client_for(world.organization_id, app=world.app)
        calls: list[Any] = [client.get(USERS_PATH) for _ in range(6)]
        return Counter(type(done).__name__ for done in await asyncio.gather(*calls, return_exceptions=True))

    assert asyncio.run(many()) == {"PlatformResponse": 2, "PlatformUnavailable": 4}


def test_a_stream_is_under_way_until_it_is_closed(make_world: MakeWorld) -> None:
    client = client_of(make_world(ORBRO_CALLS_PER_ORGANIZATION=1))
    with client.stream("GET", USERS_PATH), pytest.raises(PlatformUnavailable):
        client.get(USERS_PATH)
    assert client.get(USERS_PATH).status_code == 200


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Five connections and ten more, and nobody waits for a sixteenth for long."""
    pool: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 5, "max_overflow": 10, "pool_timeout": 2}
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path}/app.sqlite", **pool)
        yield engine
        engine.dispose()
        return
    name = f"orbro_test_{uuid.uuid4().hex[:12]}"
    server = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    need_service("PostgreSQL", lambda: server.connect().close())
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(POSTGRESQL + name, **pool)
    try:
        yield engine
    finally:
        engine.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        server.dispose()


@pytest.mark.parametrize("path", ["/users", "/users-later"])
def test_a_slow_platform_leaves_the_other_routes_unharmed(
    make_world: MakeWorld, engine: Engine, path: str
) -> None:
    world = make_world(orbro=OrbroConnect(db_session_maker=sessionmaker(engine)), install=False)
    add_routes(world, engine)
    world.install()
    token, params = world.platform.user_token("acme"), {"origin": world.origin()}
    waiting, go = threading.Semaphore(0), threading.Event()

    def hold(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] == USERS_PATH:
            waiting.release()
            go.wait(30)

    def get(path: str) -> int:
        return callers.get(world.url + path, params=params, headers=bearer(token)).status_code

    world.watch(hold)
    with httpx2.Client(timeout=30) as callers, ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(get, path) for _ in range(CALLERS)]
        try:
            for _ in calls:
                assert waiting.acquire(timeout=30)
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
            assert [get(other) for other in ("/rows", "/user", "/unprotected")] == [200] * 3
            assert not any(call.done() for call in calls)
        finally:
            go.set()
        assert Counter(call.result(30) for call in calls) == {200: CALLERS}
    assert world.asked(USER_PATH) == 1


def add_routes(world: World, engine: Engine) -> None:
    @world.app.get("/rows")
    def rows() -> dict[str, int]:
        with engine.connect() as connection:
            count = connection.execute(text("SELECT count(*) FROM connect_app_client_info"))
            return {"rows": count.scalar_one()}

    @world.app.get("/users-later")
    @user_required
    async def later() -> Any:
        return (await world.orbro.async_client().get(USERS_PATH)).raise_for_status().json()
