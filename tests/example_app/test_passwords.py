"""Hashes of passwords, older kinds of them, and how often somebody may try."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import bcrypt as python_bcrypt
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from passlib.context import CryptContext
from passlib.hash import bcrypt, bcrypt_sha256, pbkdf2_sha256

from example_app.extensions import db
from example_app.sessions import views
from example_app.users import User, passwords
from flask_orbro import ConfigurationError

from ..world import is_problem
from .people import PASSWORD, log_in, register

OLDER = {
    "bcrypt": lambda password: bcrypt.using(rounds=4).hash(password),
    "pbkdf2_sha256": lambda password: pbkdf2_sha256.using(rounds=1000).hash(password),
    "fewer rounds": lambda password: bcrypt_sha256.using(rounds=4).hash(password),
}


def stored(app: Flask, user_id: str = "ada") -> str:
    with app.app_context():
        user = db.session.get(User, user_id)
        assert user is not None
        return user.password_hash


def store(app: Flask, password_hash: str) -> None:
    with app.app_context():
        db.session.add(User(user_id="ada", user_email="a@example.com", password_hash=password_hash))
        db.session.commit()


@pytest.mark.parametrize("kind", OLDER)
def test_an_older_hash_is_replaced_at_a_log_in(make_example: Callable[..., Flask], kind: str) -> None:
    app = make_example(PASSWORD_ROUNDS=5)
    store(app, OLDER[kind](PASSWORD))
    before = stored(app)
    client = app.test_client()
    assert log_in(client, password="wrong").status_code == 401
    assert stored(app) == before
    assert log_in(client).status_code == 200
    after = stored(app)
    assert after.startswith("$bcrypt-sha256$v=2,t=2b,r=5$")
    assert log_in(client).status_code == 200
    assert stored(app) == after


def test_a_newer_hash_does_not_bring_an_old_password_back(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is changed while a log-in with the old one makes its new hash."""
    app, changed = client.application, bcrypt_sha256.using(rounds=4).hash("another password")
    store(app, OLDER["bcrypt"](PASSWORD))
    check = views.check_password

    def check_and_be_overtaken(*arguments: Any) -> Any:
        found = check(*arguments)
        with db.engine.begin() as connection:
            connection.execute(sa.update(User).values(password_hash=changed))
        return found

    monkeypatch.setattr(views, "check_password", check_and_be_overtaken)
    assert log_in(client).status_code == 200
    assert stored(app) == changed


@pytest.mark.parametrize("password", ["x" * 73, "é" * 100])
@pytest.mark.parametrize("kind", [*OLDER, "nonsense"])
def test_no_password_is_too_long_for_an_older_hash(client: FlaskClient, kind: str, password: str) -> None:
    store(client.application, OLDER[kind](PASSWORD) if kind in OLDER else "nonsense")
    assert is_problem(log_in(client, password=password), 401)["code"] == "credentials_wrong"


def test_an_unknown_user_costs_one_hash_of_the_same_kind(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(client)
    seen: list[str] = []
    context = passwords._context(4)
    verify = context.verify_and_update
    monkeypatch.setattr(
        context, "verify_and_update", lambda word, kept: seen.append(kept) or verify(word, kept)
    )
    for user_id in ("ada", "nobody", "somebody"):
        assert log_in(client, user_id, "wrong").status_code == 401
    assert seen[0] == stored(client.application)
    assert seen[1] == seen[2] != seen[0]
    assert seen[1][:28] == seen[0][:28] == "$bcrypt-sha256$v=2,t=2b,r=4$"


@pytest.mark.parametrize("password", ["wrong", "x" * 73, "é" * 100])
@pytest.mark.parametrize("kind", [*OLDER, "as many rounds", "nonsense"])
def test_a_wrong_password_never_costs_less_than_an_unknown_user(
    make_example: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, kind: str, password: str
) -> None:
    app = make_example(PASSWORD_ROUNDS=5)
    same = bcrypt.using(rounds=5).hash(PASSWORD)
    store(app, OLDER[kind](PASSWORD) if kind in OLDER else same if kind == "as many rounds" else kind)
    client, rounds, work = app.test_client(), 0, python_bcrypt.hashpw

    def count(secret: bytes, salt: bytes) -> bytes:
        nonlocal rounds
        made = work(secret, salt)  # raises at once past 72 bytes
        rounds += 2 ** int(salt.split(b"$")[2])
        return made

    monkeypatch.setattr(python_bcrypt, "hashpw", count)
    costs = []
    for user_id in ("nobody", "ada"):
        rounds = 0
        assert log_in(client, user_id, password).status_code == 401
        costs.append(rounds)
    of_nobody, of_ada = costs
    assert of_nobody == 2**5
    assert of_ada >= of_nobody
    assert of_ada == of_nobody or kind in ("bcrypt", "fewer rounds")


def test_no_database_connection_is_held_while_a_hash_is_made(
    uri: str, make_example: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_example(SQLALCHEMY_DATABASE_URI=uri)
    held: list[int] = []
    make, check = CryptContext.hash, CryptContext.verify_and_update

    def watch(work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            held.append(db.engine.pool.checkedout())
            return work(*arguments)

        return watched

    monkeypatch.setattr(CryptContext, "hash", watch(make))
    monkeypatch.setattr(CryptContext, "verify_and_update", watch(check))
    client = app.test_client()
    assert register(client).status_code == 201
    assert log_in(client).status_code == 200
    assert log_in(client, "nobody").status_code == 401
    assert len(held) >= 3
    assert set(held) == {0}


def test_the_hash_for_nobody_is_made_at_the_start(make_example: Callable[..., Flask]) -> None:
    passwords._nobodys_hash.cache_clear()
    app = make_example(PASSWORD_ROUNDS=4)
    made = passwords._nobodys_hash.cache_info().misses
    assert made == 1
    log_in(app.test_client(), "nobody")
    assert passwords._nobodys_hash.cache_info().misses == made


# The limits. Names in other letters, and of no account, are counted all the same.


def test_attempts_on_an_account_are_limited(make_example: Callable[..., Flask]) -> None:
    client = make_example(ATTEMPTS_PER_ACCOUNT="3 per minute").test_client()
    register(client)
    names = ("ada", "ADA", "Ada", "aDa", "ada")
    assert [log_in(client, name, "wrong").status_code for name in names] == [401, 401, 401, 429, 429]
    refused = log_in(client)
    assert is_problem(refused, 429)["code"] == "too_many_attempts"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert client.post("/user/auth", auth=("ada", PASSWORD)).status_code == 429
    # Others are let in, from the same address and from elsewhere.
    register(client, "eve")
    assert log_in(client, "eve").status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert log_in(client, environ_base=elsewhere).status_code == 429


def test_no_look_alike_of_a_name_gets_more_attempts(uri: str, make_example: Callable[..., Flask]) -> None:
    """Some databases take look-alikes for the same: those are refused before they are looked up."""
    client = make_example(SQLALCHEMY_DATABASE_URI=uri).test_client()
    register(client)
    for name in ("\uff41da", "ada\n", "ada ", "\u0430da", "ada\u200b", "ad\u00e4"):
        assert set(is_problem(log_in(client, name), 400)["errors"]) == {"user_id"}


def test_an_unknown_account_is_limited_alike(make_example: Callable[..., Flask]) -> None:
    client = make_example(ATTEMPTS_PER_ACCOUNT="2 per minute").test_client()
    assert [log_in(client, "nobody").status_code for _ in range(3)] == [401, 401, 429]


def test_attempts_from_an_address_are_limited(make_example: Callable[..., Flask]) -> None:
    client = make_example(ATTEMPTS_PER_ADDRESS="4 per minute").test_client()
    statuses = [register(client, "ada").status_code]
    statuses += [log_in(client, f"user{number}").status_code for number in range(3)]
    statuses += [log_in(client).status_code, register(client, "eve").status_code]
    assert statuses == [201, 401, 401, 401, 429, 429]
    assert log_in(client, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 200


@pytest.mark.parametrize(("proxies", "last"), [(0, 429), (1, 401)])
def test_the_address_is_the_proxy_s_word_only_where_a_proxy_is_trusted(
    make_example: Callable[..., Flask], proxies: int, last: int
) -> None:
    client = make_example(ATTEMPTS_PER_ADDRESS="2 per minute", TRUSTED_PROXIES=proxies).test_client()
    for number in range(3):
        headers = {"X-Forwarded-For": f"198.51.100.1, 192.0.2.{number}"}
        answer = log_in(client, f"user{number}", headers=headers)
    assert answer.status_code == last
    # What the caller itself has put before the proxy's word never counts.
    headers = {"X-Forwarded-For": "203.0.113.9, 192.0.2.2"}
    statuses = [log_in(client, f"other{number}", headers=headers).status_code for number in range(3)]
    assert statuses[-1] == 429


@pytest.mark.parametrize("setting", ["ATTEMPTS_PER_ACCOUNT", "ATTEMPTS_PER_ADDRESS"])
def test_a_limit_that_cannot_be_read_is_named(make_example: Callable[..., Flask], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting} must be limits such as .*, not 'often'"):
        make_example(**{setting: "often"})


def test_an_address_that_may_not_try_does_not_shut_others_out(make_example: Callable[..., Flask]) -> None:
    client = make_example(
        ATTEMPTS_PER_ADDRESS="2 per minute", ATTEMPTS_PER_ACCOUNT="3 per minute"
    ).test_client()
    assert [log_in(client).status_code for _ in range(5)] == [401, 401, 429, 429, 429]
    assert log_in(client, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 401


def test_with_redis_attempts_are_counted_over_all_processes(
    make_example: Callable[..., Flask], redis_settings: dict[str, str]
) -> None:
    settings: dict[str, Any] = redis_settings | {"ATTEMPTS_PER_ACCOUNT": "3 per minute"}
    statuses = []
    for _ in range(2):
        client = make_example(**settings).test_client()
        statuses += [log_in(client, "ada").status_code for _ in range(2)]
    assert statuses == [401, 401, 401, 429]


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
def test_attempts_are_counted_while_redis_is_gone(
    make_example: Callable[..., Flask], trouble: str, taken_port: int
) -> None:
    port = 1 if trouble == "refuses" else taken_port  # which accepts and never answers
    settings = {"ORBRO_REDIS_URL": f"redis://127.0.0.1:{port}/0", "ATTEMPTS_PER_ACCOUNT": "2 per minute"}
    client = make_example(**settings).test_client()
    began = time.monotonic()
    assert [log_in(client, "ada").status_code for _ in range(3)] == [401, 401, 429]
    assert time.monotonic() - began < 30


def test_no_password_reaches_a_log(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    register(client)
    register(client)
    log_in(client)
    log_in(client, password="Tr0ub4dor&3-wrong")
    client.post("/user/auth", auth=("ada", PASSWORD))
    for word in (PASSWORD, "Tr0ub4dor", "$bcrypt-sha256$"):
        assert word not in caplog.text
