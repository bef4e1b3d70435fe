"""Reading, writing and changing posts, and the list that is remembered."""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError, SAWarning

from example_app.extensions import db
from example_app.posts import pages
from example_app.users import User

from ..world import is_problem
from .people import Person


def titles(client: FlaskClient, **query: Any) -> list[str]:
    document = client.get("/posts", query_string=query).json
    assert document is not None
    return [post["title"] for post in document["items"]]


def test_a_post_is_written_read_changed_and_deleted(person: Person) -> None:
    written = person.write("First")
    assert written.status_code == 201
    post = {"id": 1, "author_id": "ada", "title": "First", "body": "A body."}
    assert written.json == post
    assert written.headers["Location"] == "/post/1"
    assert person.client.get("/post/1").json == post
    changed = person.send("PUT", "/post/1", json=person.post("Second", body="Another."))
    assert (changed.status_code, changed.json) == (200, post | {"title": "Second", "body": "Another."})
    assert person.client.get("/post/1").json == changed.json
    deleted = person.send("DELETE", "/post/1")
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert is_problem(person.client.get("/post/1"), 404)["code"] == "post_not_found"


def test_anybody_reads_and_nobody_writes_without_a_token(person: Person) -> None:
    person.write()
    client = person.client
    assert client.get("/posts").status_code == 200
    assert client.get("/post/1").status_code == 200
    for method, path in (("POST", "/posts"), ("PUT", "/post/1"), ("DELETE", "/post/1")):
        # The body is judged after the caller.
        for body in (person.post(), {}, None):
            answer = client.open(path, method=method, json=body)
            assert is_problem(answer, 401)["code"] == "token_missing"


def test_the_author_is_the_caller_in_whatever_case(person: Person) -> None:
    Person(person.client, "eve")
    assert person.write(author_id="ADA").json["author_id"] == "ada"
    assert is_problem(person.write(author_id="eve"), 403)["code"] == "author_is_another"
    answer = person.send("PUT", "/post/1", json=person.post(author_id="eve"))
    assert is_problem(answer, 403)["code"] == "author_is_another"
    assert person.client.get("/post/1").json["author_id"] == "ada"


def test_only_the_author_changes_and_deletes(person: Person) -> None:
    person.write("Mine")
    eve = Person(person.client, "eve")
    for body in (eve.post(), person.post(), {}):
        assert is_problem(eve.send("PUT", "/post/1", json=body), 403)["code"] == "author_is_another"
    is_problem(eve.send("DELETE", "/post/1"), 403)
    assert titles(person.client) == ["Mine"]


@pytest.mark.parametrize("number", ["2", "0", "-1", "2147483648", "9" * 30, "one", "%00", "1.0"])
def test_what_is_not_there_is_404(person: Person, number: str) -> None:
    person.write()
    for method in ("GET", "PUT", "DELETE"):
        is_problem(person.send(method, f"/post/{number}", json=person.post()), 404)
    for method in ("POST", "PATCH"):
        answer = person.send(method, f"/post/{number}")
        is_problem(answer, answer.status_code)
        assert answer.status_code in (404, 405)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("author_id", None),
        ("author_id", "a b"),
        ("title", ""),
        ("title", "x" * 201),
        ("title", "nul\0"),
        ("body", "x" * 10_001),
        ("body", "\udcff"),
        ("body", {}),
        ("id", 7),
    ],
)
def test_a_bad_member_is_named(person: Person, member: str, value: Any) -> None:
    person.write()
    for method, path in (("POST", "/posts"), ("PUT", "/post/1")):
        answer = person.send(method, path, json=person.post(**{member: value}))
        assert set(is_problem(answer, 400)["errors"]) == {member}


def test_any_text_is_kept_as_it_is(uri: str, make_example: Callable[..., Flask]) -> None:
    person = Person(make_example(SQLALCHEMY_DATABASE_URI=uri).test_client())
    text = "Ünï 😀 \u202e' ; -- <b> \t\n " + "\U0001f600" * 100
    long = "\U0001f600" * 10_000
    assert person.write(text, body=long).status_code == 201
    found = person.client.get("/post/1").json
    assert found is not None
    assert (found["title"], found["body"]) == (text, long)


def test_the_list_comes_in_pages_with_links(person: Person) -> None:
    for number in range(1, 6):
        person.write(f"Post {number}")
    document = person.client.get("/posts?page=2&per_page=2&utm_source=x").json
    assert document is not None
    assert [post["title"] for post in document.pop("items")] == ["Post 3", "Post 2"]
    assert document == {
        "total": 5,
        "page": 2,
        "per_page": 2,
        "links": {
            "self": "/posts?page=2&per_page=2",
            "first": "/posts?page=1&per_page=2",
            "last": "/posts?page=3&per_page=2",
            "prev": "/posts?page=1&per_page=2",
            "next": "/posts?page=3&per_page=2",
        },
    }
    for page, names in {1: {"next"}, 3: {"prev"}, 9: {"prev"}}.items():
        links = person.client.get(f"/posts?page={page}&per_page=2").json["links"]
        assert set(links) == {"self", "first", "last", *names}
        assert person.client.get(links.get("prev", links["last"])).json["items"]


def test_an_empty_list_has_one_page(client: FlaskClient) -> None:
    document = client.get("/posts").json
    assert document is not None
    assert (document["items"], document["total"]) == ([], 0)
    assert document["links"]["last"] == document["links"]["self"]


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1000001", "page"),
        ("page=" + "9" * 5000, "page"),
        ("page=x", "page"),
        ("page=", "page"),
        ("page=1.5", "page"),
        ("per_page=51", "per_page"),
        ("per_page=0", "per_page"),
    ],
)
def test_a_page_that_cannot_be_is_400(client: FlaskClient, query: str, member: str) -> None:
    assert set(is_problem(client.get(f"/posts?{query}"), 400)["errors"]) == {member}


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
    read = pages._read

    def read_and_be_overtaken(page: int, per_page: int) -> dict[str, Any]:
        found = read(page, per_page)
        db.session.rollback()
        monkeypatch.setattr(pages, "_read", read)
        assert person.write("New").status_code == 201
        return found

    monkeypatch.setattr(pages, "_read", read_and_be_overtaken)
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


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_post_that_is_deleted_in_the_middle_of_a_change_is_no_500(
    person: Person, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    person.write()
    commit = db.session.commit

    def delete_first() -> None:
        with db.engine.connect() as connection:
            connection.execute(sa.text("delete from posts"))
            connection.commit()
        commit()

    monkeypatch.setattr(db.session, "commit", delete_first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        answer = person.send(method, "/post/1", json=person.post("Changed"))
    if method == "PUT":
        assert is_problem(answer, 409)["code"] == "conflict"
    else:
        assert answer.status_code == 204


def test_a_database_that_fails_is_503_and_shows_nothing(
    person: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: Any) -> None:
        raise OperationalError("select hidden", {"password_hash": "hidden"}, Exception("hidden host"))

    for path, name in (("/posts", "scalars"), ("/post/1", "get")):
        with monkeypatch.context() as patch:
            patch.setattr(db.session, name, fail)
            answer = person.client.get(path)
        assert is_problem(answer, 503)["code"] == "database_unavailable"
        assert answer.headers["Retry-After"] == "1"
        assert "hidden" not in answer.get_data(as_text=True)
    assert "The database failed" in caplog.text


@pytest.mark.parametrize("options", [{}, {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_recycle": 60}}])
def test_password_hashes_stay_out_of_what_sqlalchemy_says(
    make_example: Callable[..., Flask], options: dict[str, Any]
) -> None:
    app = make_example(**options)
    with app.app_context():
        assert db.engine.pool._recycle == (60 if options else -1)
        user = {"user_id": "ada", "user_email": "a@example.com", "password_hash": "the-hash"}
        db.session.add_all([User(**user)])
        db.session.commit()
        with pytest.raises(sa.exc.IntegrityError) as caught:
            db.session.execute(sa.insert(User).values(**user))
        assert "the-hash" not in str(caught.value)


def test_two_apps_of_one_process_remember_for_themselves(make_example: Callable[..., Flask]) -> None:
    one = make_example()
    other = make_example(SQLALCHEMY_DATABASE_URI="sqlite:///other.sqlite")
    Person(one.test_client()).write("Of one")
    assert titles(one.test_client()) == ["Of one"]
    assert titles(other.test_client()) == []
