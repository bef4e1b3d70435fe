"""Logging in and out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import jwt_required
from flask_restx import Resource

from example_app.extensions import db
from example_app.extensions import jwt as jwt_manager
from example_app.sessions import EndedSession, namespace
from example_app.users import User

from ..conftest import bearer
from ..world import is_problem
from .conftest import JWT_SECRET_KEY, UNLIMITED
from .people import PASSWORD, Person, at_once, log_in, register


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def sign(**claims: Any) -> str:
    """A token with the app's own key."""
    now = int(time.time())
    usual = {"sub": "ada", "type": "access", "jti": "j", "exp": now + 60, "sid": "s", "fresh": False}
    told = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(told, JWT_SECRET_KEY, algorithm="HS256")


@pytest.mark.parametrize("basic", [True, False])
def test_logging_in_gives_two_tokens_and_the_account(client: FlaskClient, basic: bool) -> None:
    register(client)
    answer = client.post("/user/auth", auth=("Ada", PASSWORD)) if basic else log_in(client, "Ada")
    assert answer.status_code == 200
    assert answer.json is not None
    assert set(answer.json) == {"access_token", "refresh_token", "user"}
    assert answer.json["user"] == {"user_id": "ada", "user_email": "ada@example.com"}
    assert client.get("/tests/secret", headers=bearer(answer.json["access_token"])).json == {
        "message": "Hello, ada!"
    }


def test_basic_counts_where_a_body_comes_too(client: FlaskClient) -> None:
    register(client)
    assert log_in(client, "nobody", auth=("ada", PASSWORD)).status_code == 200
    assert log_in(client, "ada", auth=("ada", "wrong")).status_code == 401


def test_an_unknown_user_and_a_wrong_password_are_answered_alike(client: FlaskClient) -> None:
    register(client)
    answers = [log_in(client, "ada", "wrong"), log_in(client, "nobody", "wrong"), log_in(client, "nobody")]
    assert {is_problem(answer, 401)["code"] for answer in answers} == {"credentials_wrong"}
    assert len({answer.data for answer in answers}) == 1
    assert len({tuple(answer.headers) for answer in answers}) == 1
    # A challenge for Basic would open the browser's own window.
    assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["Basic !!!", "Basic " + "/w==", "Basic", "Basic YQ==", "basic OmE=", "Basic \x80", "Basic ä"]
)
def test_a_malformed_basic_header_is_the_caller_s_fault(client: FlaskClient, header: str) -> None:
    register(client)
    is_problem(client.post("/user/auth", headers={"Authorization": header}), 400)
    # Nor is it passed over where the body would do.
    is_problem(log_in(client, headers={"Authorization": header}), 400)


def test_a_long_password_counts_to_its_end(client: FlaskClient) -> None:
    long = "x" * 200
    register(client, user_password=long + "1")
    assert log_in(client, password=long + "1").status_code == 200
    assert log_in(client, password=long + "2").status_code == 401


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda: None, "token_missing"),
        (lambda: "", "token_invalid"),
        (lambda: "x.y.z", "token_invalid"),
        (lambda: "ä", "token_invalid"),
        (lambda: jwt.encode({"sub": "ada"}, "k" * 40, "HS256"), "token_invalid"),
        (lambda: jwt.encode({"sub": "ada", "type": "access"}, None, "none"), "token_invalid"),
        (lambda: sign(exp=1), "token_expired"),
        (lambda: sign(sub=None), "token_invalid"),
        (lambda: sign(sub=5), "token_invalid"),
        (lambda: sign(sub="nobody"), "account_gone"),
        (lambda: sign(sid=None), "session_ended"),
        (lambda: sign(sid=5), "session_ended"),
        (lambda: sign(type="refresh"), "token_invalid"),
    ],
)
def test_each_refusal_of_a_token_is_a_problem(
    client: FlaskClient, token: Callable[[], str | None], code: str
) -> None:
    register(client)
    assert client.get("/tests/secret", headers=bearer(sign(sid="x" * 1000))).status_code == 200
    given = token()
    headers = {} if given is None else {"Authorization": f"Bearer {given}".encode().decode("latin-1")}
    answer = client.get("/tests/secret", headers=headers)
    assert is_problem(answer, 401)["code"] == code
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_must_be_of_a_log_in_is_asked_for_in_the_one_shape(app: Flask) -> None:
    class Guarded(Resource):
        @jwt_required(fresh=True)
        def get(self) -> Any:
            return "in"

    @app.get("/guarded/view")
    @jwt_required(fresh=True)
    def view() -> Any:
        return "in"

    @app.get("/guarded/async")
    @jwt_required(fresh=True)
    async def async_view() -> Any:
        return "in"

    namespace.apis[-1].add_resource(Guarded, "/guarded/resource")
    person = Person(app.test_client())
    renewed = person.send("POST", "/user/refresh", token=person.refresh).json["access_token"]
    for path in ("/guarded/resource", "/guarded/view", "/guarded/async"):
        assert person.send("GET", path).status_code == 200
        answer = person.send("GET", path, token=renewed)
        assert is_problem(answer, 401)["code"] == "token_not_fresh"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_whose_claims_are_refused_is_a_problem(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person(client)
    monkeypatch.setattr(jwt_manager, "_token_verification_callback", lambda _header, _claims: False)
    answer = person.send("GET", "/tests/secret")
    assert is_problem(answer, 401)["code"] == "token_invalid"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_answers_with_tokens_are_kept_by_nobody_on_the_way(person: Person) -> None:
    answers = [log_in(person.client), person.send("POST", "/user/refresh", token=person.refresh)]
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store", "no-store"]


def test_a_log_out_counts_though_others_cannot_be_forgotten(
    person: Person, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(
            sa.text(
                "create trigger keep before delete on ended_sessions begin select raise(abort, 'kept'); end"
            )
        )
        connection.execute(sa.insert(EndedSession).values(sid="old", forget_at=1.0))
    assert person.send("POST", "/user/logout").status_code == 204
    assert is_problem(person.send("GET", "/tests/secret"), 401)["code"] == "session_ended"
    assert "Ended sessions are not forgotten yet" in caplog.text


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Token x", "bearer x"])
def test_a_malformed_header_is_a_problem(client: FlaskClient, header: str) -> None:
    is_problem(client.get("/tests/secret", headers={"Authorization": header}), 401)


def test_the_refresh_token_gives_another_access_token_of_the_session(person: Person) -> None:
    answer = person.send("POST", "/user/refresh", token=person.refresh)
    assert answer.status_code == 200
    assert answer.json is not None
    another = answer.json["access_token"]
    assert claims_of(another)["sid"] == claims_of(person.access)["sid"]
    assert another != person.access
    assert person.send("GET", "/tests/secret", token=another).status_code == 200


def test_each_token_is_for_its_own_purpose(person: Person) -> None:
    assert is_problem(person.send("POST", "/user/refresh"), 401)
    assert is_problem(person.send("GET", "/tests/secret", token=person.refresh), 401)


@pytest.mark.parametrize("which", ["access", "refresh"])
def test_logging_out_ends_both_tokens_and_no_other_session(person: Person, which: str) -> None:
    first = {"access": person.access, "refresh": person.refresh}
    person.log_in()
    assert person.send("POST", "/user/logout", token=first[which]).status_code == 204
    for token in first.values():
        for method, path in (("GET", "/tests/secret"), ("POST", "/user/refresh"), ("POST", "/user/logout")):
            assert person.send(method, path, token=token).status_code == 401
    assert (
        is_problem(person.send("GET", "/tests/secret", token=first["access"]), 401)["code"] == "session_ended"
    )
    assert person.send("GET", "/tests/secret").status_code == 200
    assert person.send("POST", "/user/refresh", token=person.refresh).status_code == 200


def test_an_access_token_that_was_renewed_ends_too(person: Person) -> None:
    document = person.send("POST", "/user/refresh", token=person.refresh).json
    assert document is not None
    assert person.send("POST", "/user/logout").status_code == 204
    assert person.send("GET", "/tests/secret", token=document["access_token"]).status_code == 401


def test_a_log_out_is_remembered_until_the_last_token_has_expired(person: Person, app: Flask) -> None:
    def remembered() -> list[float]:
        with app.app_context():
            return list(db.session.scalars(sa.select(EndedSession.forget_at)))

    def age(seconds: float) -> None:
        with app.app_context():
            db.session.execute(sa.update(EndedSession).values(forget_at=EndedSession.forget_at - seconds))
            db.session.commit()

    expiries = [claims_of(token)["exp"] for token in (person.access, person.refresh)]
    person.send("POST", "/user/logout")
    [forget_at] = remembered()
    # An access token may be made as the refresh token expires, and lives for 15 minutes.
    assert max(expiries) + 900 <= forget_at + 1 <= max(expiries) + 960
    left = forget_at - time.time()
    for seconds in (left - 30, 60):
        age(seconds)
        person.log_in()
        person.send("POST", "/user/logout")
        # The third log-out forgets the first.
        assert len(remembered()) == 2


@pytest.mark.parametrize("setting", ["JWT_ACCESS_TOKEN_EXPIRES", "JWT_REFRESH_TOKEN_EXPIRES"])
def test_the_log_out_of_tokens_that_never_expire_is_never_forgotten(
    make_example: Callable[..., Flask], setting: str
) -> None:
    person = Person(make_example(**{setting: False}).test_client())
    assert person.send("POST", "/user/logout").status_code == 204
    Person(person.client, "eve").send("POST", "/user/logout")
    assert person.send("POST", "/user/logout").status_code == 401
    with person.client.application.app_context():
        assert list(db.session.scalars(sa.select(EndedSession.forget_at))) == [None, None]


def log_out(token: str) -> Callable[[FlaskClient], Any]:
    return lambda client: client.post("/user/logout", headers=bearer(token))


def test_log_outs_of_one_session_at_once_are_no_500(uri: str, make_example: Callable[..., Flask]) -> None:
    person = Person(make_example(SQLALCHEMY_DATABASE_URI=uri).test_client())
    statuses = at_once(person.client.application, *[log_out(person.access)] * 6)
    # Who comes after the first has committed is told that the session has ended.
    assert statuses[0] == 204
    assert set(statuses) <= {204, 401}
    assert person.send("GET", "/tests/secret").status_code == 401


def test_log_outs_of_many_sessions_at_once_all_succeed(uri: str, make_example: Callable[..., Flask]) -> None:
    person = Person(make_example(SQLALCHEMY_DATABASE_URI=uri, **UNLIMITED).test_client())
    for _ in range(3):
        sessions = []
        for _ in range(8):
            person.log_in()
            sessions.append(log_out(person.access))
        assert at_once(person.client.application, *sessions) == [204] * 8


def test_an_account_that_is_gone_is_not_logged_in(person: Person, app: Flask) -> None:
    with app.app_context():
        db.session.execute(sa.delete(User))
        db.session.commit()
    assert is_problem(person.send("GET", "/tests/secret"), 401)["code"] == "account_gone"


def test_the_platform_s_tokens_and_the_app_s_own_are_kept_apart(
    person: Person, simulator: Any, serving: Callable[[Flask], str], app: Flask, origin: str
) -> None:
    assert simulator.platform.install(serving(app), "acme").ok
    user = simulator.platform.user_token("acme")
    assert is_problem(person.send("GET", "/tests/secret", token=user), 401)["code"] == "token_invalid"
    simulator.platform.reset_log()
    for token in (person.access, person.refresh):
        answer = person.send("GET", "/platform/me", token=token, query_string={"origin": origin})
        assert is_problem(answer, 401)["code"] == "token_of_another_kind"
    assert not simulator.platform.requests
