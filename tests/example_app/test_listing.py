"""The post list that is remembered, and what becomes of it while Redis is gone."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask

from benchmarks.inbox.tcp_proxy import TcpProxy
from example_app import outage
from example_app.extensions import db
from example_app.posts import listing

from .conftest import UNLIMITED
from .people import Person, log_in, titles


class Statements:
    """Counts the statements that read posts."""

    def __init__(self, app: Flask) -> None:
        self.count = 0
        with app.app_context():
            sa.event.listen(db.engine, "before_cursor_execute", self._see)

    def _see(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self.count += "FROM posts" in statement and "SELECT" in statement


@pytest.mark.parametrize("shared", [True, False], ids=["redis", "memory"])
def test_the_list_is_remembered_until_a_post_changes(
    request: pytest.FixtureRequest, make_example: Callable[..., Flask], shared: bool
) -> None:
    options = request.getfixturevalue("redis_settings") if shared else {}
    person = Person(make_example(**options).test_client())
    statements = Statements(person.client.application)
    person.write("One")

    def reads() -> int:
        statements.count = 0
        titles(person.client)
        titles(person.client, per_page=5)
        return statements.count

    changes: list[Callable[[], Any]] = [
        lambda: person.write("Two"),
        lambda: person.send("PUT", "/post/1", json=person.post("Changed")),
        lambda: person.send("DELETE", "/post/2"),
    ]
    for change, expected in zip(changes, (["Two", "One"], ["Two", "Changed"], ["Changed"]), strict=True):
        assert change().status_code < 300
        assert reads() == 4
        assert titles(person.client) == expected
        assert reads() == 0
    refused = person.send("PUT", "/post/1", json={})
    assert refused.status_code == 400
    assert reads() == 0


def test_with_redis_a_change_is_seen_by_every_process_at_once(
    make_example: Callable[..., Flask], redis_settings: dict[str, str]
) -> None:
    one, other = (make_example(**redis_settings) for _ in range(2))
    person = Person(one.test_client())
    assert titles(other.test_client()) == []
    for number in range(3):
        person.write(f"Post {number}")
        assert titles(other.test_client())[0] == f"Post {number}"


def test_in_memory_the_others_see_it_when_the_time_is_over(make_example: Callable[..., Flask]) -> None:
    one, other = (make_example(CACHE_DEFAULT_TIMEOUT=1) for _ in range(2))
    person = Person(one.test_client())
    assert titles(other.test_client()) == []
    person.write("New")
    assert titles(one.test_client()) == ["New"]
    assert titles(other.test_client()) == []
    threading.Event().wait(1.1)
    assert titles(other.test_client()) == ["New"]


def test_a_change_during_a_read_is_not_lost(
    make_example: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has read the old list, and remembers it after the writer has made the list forgotten."""
    person = Person(make_example().test_client())
    person.write("Old")
    read = listing._read

    def read_and_be_overtaken(page: int, per_page: int) -> dict[str, Any]:
        found = read(page, per_page)
        db.session.rollback()
        monkeypatch.setattr(listing, "_read", read)
        assert person.write("New").status_code == 201
        return found

    monkeypatch.setattr(listing, "_read", read_and_be_overtaken)
    assert titles(person.client) == ["Old"]
    assert titles(person.client) == ["New", "Old"]


def test_nothing_in_redis_is_a_pickle_and_a_planted_one_is_not_loaded(
    make_example: Callable[..., Flask], redis_settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("unpickled",)

    person = Person(make_example(**redis_settings).test_client())
    person.write("One")
    caplog.clear()
    titles(person.client)
    assert not [record for record in caplog.records if record.name == "root"]  # no noise for a miss
    with redis.Redis.from_url(redis_settings["ORBRO_REDIS_URL"]) as client:
        keys = client.keys(f"{redis_settings['CACHE_KEY_PREFIX']}*")
        assert keys
        for key in keys:
            assert client.get(key)[:1] in (b'"', b"{")
            client.set(key, b"!" + pickle.dumps(Bomb()))
    assert titles(person.client) == ["One"]


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
def test_while_redis_is_gone_everything_goes_on(
    make_example: Callable[..., Flask], trouble: str, taken_port: int
) -> None:
    port = 1 if trouble == "refuses" else taken_port  # which accepts and never answers
    app = make_example(ORBRO_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    person = Person(app.test_client())
    assert person.write("One").status_code == 201
    assert titles(person.client) == ["One"]
    assert person.write("Two").status_code == 201
    assert titles(person.client) == ["Two", "One"]


def test_two_apps_of_one_process_remember_for_themselves(make_example: Callable[..., Flask]) -> None:
    one = make_example()
    other = make_example(SQLALCHEMY_DATABASE_URI="sqlite:///other.sqlite")
    Person(one.test_client()).write("Of one")
    assert titles(one.test_client()) == ["Of one"]
    assert titles(other.test_client()) == []


@pytest.fixture
def redis_by_proxy(
    redis_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TcpProxy, dict[str, str]]]:
    """Settings of an app whose Redis can be taken away; it is asked again at once."""
    monkeypatch.setattr(outage, "PAUSE", 0.0)
    with TcpProxy(6379) as proxy:
        yield proxy, redis_settings | {"ORBRO_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}


def test_a_change_while_redis_is_gone_is_seen_when_it_is_back(
    make_example: Callable[..., Flask],
    redis_settings: dict[str, str],
    redis_by_proxy: tuple[TcpProxy, dict[str, str]],
) -> None:
    proxy, settings = redis_by_proxy
    one, other = make_example(**settings), make_example(**redis_settings).test_client()
    person = Person(one.test_client())
    for title in ("One", "Two"):
        person.write(title)
    assert titles(person.client) == titles(other) == ["Two", "One"]
    proxy.cut()
    assert person.send("DELETE", "/post/1").status_code == 204
    assert titles(person.client) == ["Two"]
    proxy.mend()
    assert titles(person.client) == ["Two"]
    assert titles(other) == ["Two"]


def test_after_an_outage_the_list_is_remembered_again(
    make_example: Callable[..., Flask], redis_by_proxy: tuple[TcpProxy, dict[str, str]]
) -> None:
    proxy, settings = redis_by_proxy
    client = make_example(**settings).test_client()
    statements = Statements(client.application)
    for break_, mended in ((proxy.cut, False), (proxy.mend, True)):
        break_()
        titles(client)
        statements.count = 0
        titles(client)
        assert statements.count == (0 if mended else 2)


def test_of_many_requests_one_waits_for_a_redis_that_hangs(
    make_example: Callable[..., Flask],
    redis_by_proxy: tuple[TcpProxy, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy, settings = redis_by_proxy
    monkeypatch.setattr(outage, "PAUSE", 3600.0)
    client = make_example(**settings, **UNLIMITED).test_client()
    proxy.hang()
    titles(client)
    log_in(client)
    waited = proxy.connections
    assert waited > 0
    for _ in range(5):
        titles(client)
        assert log_in(client).status_code == 401
    assert proxy.connections == waited


def test_when_the_pause_is_over_one_caller_tries_and_the_others_go_on(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    redis_like = outage.Outage("It")

    def fail() -> str:
        asked.append("asked")
        # Somebody else comes while this one waits.
        assert redis_like.ask(lambda: "answered", lambda: "went on") == "went on"
        raise ConnectionError

    def first_failure() -> str:
        raise ConnectionError

    now = 0.0
    monkeypatch.setattr(outage, "time", SimpleNamespace(monotonic=lambda: now))
    with app.app_context():
        assert redis_like.ask(first_failure, lambda: "went on") == "went on"
        assert redis_like.ask(fail, lambda: "went on") == "went on"
        assert asked == []
        now += outage.PAUSE
        assert redis_like.ask(fail, lambda: "went on") == "went on"
        assert asked == ["asked"]
        now += outage.PAUSE
        assert redis_like.ask(lambda: "answered", lambda: "went on") == "answered"
        assert redis_like.ask(lambda: "answered", lambda: "went on") == "answered"
