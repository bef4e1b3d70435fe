"""Registering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from example_app.extensions import db
from example_app.users import User, schemas

from ..world import is_problem
from .people import at_once, log_in, register


def test_an_account_is_registered_and_its_password_is_not_shown(client: FlaskClient, app: Flask) -> None:
    answer = register(client, "Ada", user_email="Ada@EXAMPLE.com")
    assert answer.status_code == 201
    assert answer.json == {"user_id": "ada", "user_email": "Ada@example.com"}
    with app.app_context():
        user = db.session.get(User, "ada")
    assert user.password_hash.startswith("$bcrypt-sha256$")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("user_id", "ad"),
        ("user_id", "a" * 33),
        ("user_id", "ada lovelace"),
        ("user_id", "ada\n"),
        ("user_id", "аda"),  # noqa: RUF001 (the first letter is Cyrillic)
        ("user_id", "\N{KELVIN SIGN}ate"),
        ("user_id", 5),
        ("user_id", None),
        ("user_email", "nobody"),
        ("user_email", "nobody@localhost"),
        ("user_email", "a@" + "b" * 300 + ".example"),
        ("user_email", "ada@exam\0ple.com"),
        ("user_password", "short"),
        ("user_password", "x" * 257),
        ("user_password", "nul\0nul\0nul"),
        ("user_password", "\ud800" * 8),
        ("user_password", ["hunter2hunter2"]),
        ("is_admin", True),
    ],
)
def test_a_rejected_registration_names_the_member_and_never_echoes_the_password(
    client: FlaskClient, app: Flask, member: str, value: Any
) -> None:
    answer = register(client, **({"user_password": "hunter2-hunter2"} | {member: value}))
    assert set(is_problem(answer, 400)["errors"]) == {member}
    text = answer.get_data(as_text=True)
    assert "hunter2" not in text
    assert member != "user_password" or str(value) not in text
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count(User.user_id))) == 0


@pytest.mark.parametrize("again", ["ada", "ADA", "aDa"])
def test_a_user_id_is_taken_in_whatever_case(client: FlaskClient, again: str) -> None:
    assert register(client).status_code == 201
    assert is_problem(register(client, again), 409)["code"] == "user_id_taken"
    assert log_in(client).status_code == 200


def test_no_mail_address_is_taken_by_somebody_who_merely_names_it(client: FlaskClient) -> None:
    statuses = [register(client, name, user_email="ada@example.com").status_code for name in ("ada", "eve")]
    assert statuses == [201, 201]


def test_of_registrations_at_once_one_wins(uri: str, make_example: Callable[..., Flask]) -> None:
    app = make_example(SQLALCHEMY_DATABASE_URI=uri)
    assert at_once(app, *[register] * 8) == [201] + [409] * 7


def test_a_long_mail_address_is_refused_before_anybody_looks_into_it(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    look = schemas.validate_email
    monkeypatch.setattr(
        schemas, "validate_email", lambda address, **options: seen.append(address) or look(address, **options)
    )
    longest = "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".cc"
    assert len(longest) == 253
    for address, status in (
        (longest, 201),
        (longest + "c", 201),
        (longest + "cc", 400),
        ("a@" * 400_000, 400),
    ):
        answer = register(client, f"ada{len(seen)}", user_email=address)
        assert answer.status_code == status
    assert seen == [longest, longest + "c"]
