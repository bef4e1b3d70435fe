"""Several calls at once: one deadline, and what has come by then."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask, current_app, g, request
from flask_sqlalchemy import SQLAlchemy

from flask_orbro import (
    ConnectionRefused,
    ConnectionUnavailable,
    Gathered,
    NotInitializedError,
    OrbroConnect,
    current_identity,
    user_required,
)
from flask_orbro.connections import AsyncConnection, Connection, async_gather, gather
from flask_orbro.simulator import SimulatorServer

from ..world import USERS_PATH, World, is_problem
from .backend import Backend, running_backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        backend.app.add_url_rule("/slow/<int:tenths>", "slow", lambda tenths: time.sleep(tenths / 10) or {})
        yield backend


@pytest.fixture(params=["threads", "tasks"])
def gathering(request: pytest.FixtureRequest, backend: Backend) -> Callable[..., Gathered]:
    """Gets paths of the back end at once, sync or async."""
    definition = {"url": backend.url, "retries": 0}

    def sync(timeout: float, paths: dict[str, str]) -> Gathered:
        connection = Connection("weather", definition)
        calls = {name: partial(get, connection, path) for name, path in paths.items()}
        return gather(timeout=timeout, **calls)

    def get(connection: Connection, path: str) -> int:
        return connection.get(path).raise_for_status().status_code

    async def in_loop(timeout: float, paths: dict[str, str]) -> Gathered:
        connection = AsyncConnection("weather", definition)

        async def get(path: str) -> int:
            return (await connection.get(path)).raise_for_status().status_code

        return await async_gather(timeout=timeout, **{name: get(path) for name, path in paths.items()})

    if request.param == "threads":
        return sync
    return lambda timeout, paths: asyncio.run(in_loop(timeout, paths))


Gathering = Callable[[float, dict[str, str]], Gathered]


def test_calls_are_made_at_once(gathering: Gathering) -> None:
    began = time.monotonic()
    gathered = gathering(10, {"a": "/slow/5", "b": "/slow/5", "c": "/slow/5", "d": "/slow/5"})
    assert time.monotonic() - began < 1.5
    assert gathered.results == {"a": 200, "b": 200, "c": 200, "d": 200}
    assert (gathered.errors, dict(gathered)) == ({}, gathered.results)
    assert gathered.raise_if_any() is gathered


def test_what_fails_does_not_take_the_rest_with_it(gathering: Gathering) -> None:
    gathered = gathering(10, {"good": "/a", "refused": "/status/404", "failed": "/status/500"})
    assert gathered.results == {"good": 200}
    assert {name: type(error) for name, error in gathered.errors.items()} == {
        "refused": ConnectionRefused,
        "failed": ConnectionUnavailable,
    }
    assert (len(gathered), list(gathered), "refused" in gathered) == (1, ["good"], False)
    assert (gathered["good"], gathered.get("refused"), gathered.get("failed", 7)) == (200, None, 7)
    for raising in (lambda: gathered["refused"], gathered.raise_if_any):
        with pytest.raises(ConnectionRefused):
            raising()
    with pytest.raises(KeyError):
        _ = gathered["unheard-of"]


def test_one_deadline_is_for_all(gathering: Gathering, backend: Backend) -> None:
    began = time.monotonic()
    gathered = gathering(0.5, {"good": "/a", "late": "/slow/30", "later": "/slow/30"})
    assert time.monotonic() - began < 1.5
    assert gathered.results == {"good": 200}
    assert {type(error) for error in gathered.errors.values()} == {ConnectionUnavailable}


def test_nothing_is_gathered_from_nothing(gathering: Gathering) -> None:
    assert gathering(1, {}) == Gathered()


def test_a_late_call_ends_soon_after_the_deadline(backend: Backend) -> None:
    connection = Connection("weather", {"url": backend.url, "retries": 5})
    ended = threading.Event()

    def slow() -> Any:
        try:
            return connection.get("/slow/50")
        finally:
            ended.set()

    assert list(gather(timeout=0.2, slow=slow).errors) == ["slow"]
    assert ended.wait(1.5)


def test_a_late_task_is_cancelled() -> None:
    async def main() -> tuple[Gathered, bool]:
        late = asyncio.ensure_future(asyncio.sleep(60))
        return await async_gather(
            timeout=0.05, late=late, made=lambda: asyncio.sleep(0, "made")
        ), late.cancelled()

    gathered, cancelled = asyncio.run(main())
    assert (gathered.results, list(gathered.errors), cancelled) == ({"made": "made"}, ["late"], True)


def test_gathering_within_a_call_keeps_to_the_outer_deadline(backend: Backend) -> None:
    connection = Connection("weather", {"url": backend.url, "retries": 0})
    inner: list[Gathered] = []

    def nested() -> None:
        inner.append(gather(timeout=30, slow=lambda: connection.get("/slow/40")))

    began = time.monotonic()
    gather(timeout=0.4, nested=nested)
    while not inner and time.monotonic() - began < 2:
        time.sleep(0.01)
    assert list(inner[0].errors) == ["slow"]


class TestInViews:
    """Threads and tasks know the app, the request and its caller."""

    @pytest.fixture
    def make_world(
        self, make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
    ) -> Callable[..., World]:
        return partial(World, make_app, serving, simulator)

    def test_the_caller_is_known_in_the_threads(
        self, make_world: Callable[..., World], backend: Backend
    ) -> None:
        orbro = OrbroConnect()

        def summary() -> Any:
            g.of_the_request = "not for sharing"
            gathered = orbro.gather(
                who=lambda: current_identity.email,
                where=lambda: (current_app.name, request.path, hasattr(g, "of_the_request")),
                members=lambda: orbro.client.get(USERS_PATH).json()["data"][0]["email"],
                echo=lambda: orbro.connections["weather"].get("/a").json()["path"],
            )
            assert g.of_the_request == "not for sharing"
            return gathered.raise_if_any().results

        world = make_world(
            orbro=orbro,
            views={"/summary": (user_required, summary)},
            ORBRO_CONNECTIONS={"weather": {"url": backend.url}},
        )
        assert world.get("/summary", world.platform.user_token("acme")).json == {
            "who": "admin@acme.example",
            "where": [world.app.name, "/summary", False],
            "members": "admin@acme.example",
            "echo": "/a",
        }

    def test_async_views_gather_tasks(self, make_world: Callable[..., World], backend: Backend) -> None:
        orbro = OrbroConnect()

        async def who() -> Any:
            return current_identity.email

        async def summary() -> Any:
            weather = orbro.async_connections["weather"]
            gathered = await orbro.async_gather(
                timeout=1, good=weather.get("/a"), bad=weather.get("/slow/30"), who=who
            )
            return [gathered["good"].status_code, list(gathered.errors), gathered["who"]]

        world = make_world(
            orbro=orbro,
            views={"/async-summary": (lambda _view: user_required(summary), list)},
            ORBRO_CONNECTIONS={"weather": {"url": backend.url, "retries": 0}},
        )
        answer = world.get("/async-summary", world.platform.user_token("acme"))
        assert answer.json == [200, ["bad"], "admin@acme.example"]

    @pytest.mark.parametrize("testing", [True, False])
    def test_an_error_that_is_raised_answers_by_itself(
        self, make_world: Callable[..., World], backend: Backend, testing: bool
    ) -> None:
        orbro = OrbroConnect()

        def summary() -> Any:
            return orbro.gather(timeout=0.2, slow=lambda: time.sleep(0.4)).raise_if_any().results

        world = make_world(orbro=orbro, TESTING=testing, views={"/summary": (user_required, summary)})
        problem = is_problem(world.get("/summary", world.platform.user_token("acme")), 503)
        assert "'slow' took longer than 0.2 s" in problem["detail"]

    def test_each_thread_has_a_database_session_of_its_own(self, make_app: Callable[..., Flask]) -> None:
        db = SQLAlchemy()
        orbro = OrbroConnect()
        app = make_app(orbro, SQLALCHEMY_DATABASE_URI="sqlite://")
        db.init_app(app)
        with app.app_context():
            own = db.session()
            gathered = orbro.gather(a=lambda: db.session(), b=lambda: db.session())
            assert len({id(session) for session in (own, gathered["a"], gathered["b"])}) == 3

    def test_an_app_context_is_needed(self) -> None:
        with pytest.raises(NotInitializedError):
            OrbroConnect().gather(a=dict)
