"""Reading, writing and changing posts, and the list that is remembered."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError, SAWarning

from example_app.extensions import db
from example_app.users import User

from ..world import is_problem
from .people import Person, titles


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
        ("ids", 7),
    ],
)
def test_a_bad_member_is_named(person: Person, member: str, value: Any) -> None:
    person.write()
    for method, path in (("POST", "/posts"), ("PUT", "/post/1")):
        answer = person.send(method, path, json=person.post(**{member: value}))
        assert set(is_problem(answer, 400)["errors"]) == {member}


def test_what_was_read_can_be_sent_back_changed(person: Person) -> None:
    written = person.write("First").json
    changed = written | {"title": "Second"}
    assert person.send("PUT", "/post/1", json=changed).json == changed
    assert person.send("PUT", "/post/1", json=changed | {"id": 7}).json == changed
    assert person.write("Third", id=1).json["id"] == 2
    assert person.client.get("/post/1").json == changed


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
