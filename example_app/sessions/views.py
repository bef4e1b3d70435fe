"""Logging in, staying logged in, and logging out."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_jwt_extended import current_user, jwt_required
from flask_restx import Namespace, Resource
from sqlalchemy import update

from flask_orbro import NotAuthenticated, answers_problems, load_body, schema_model

from ..errors import InvalidInput
from ..extensions import db
from ..limits import count_attempt
from ..users.model import User
from ..users.passwords import check_password
from .schemas import AccessSchema, CredentialsSchema, LoggedInSchema
from .tokens import end_session, renew_session, start_session

sessions = Namespace("sessions", "Logging in and out", path="/user")

_credentials = schema_model(sessions, "Credentials", CredentialsSchema)
_logged_in = schema_model(sessions, "LoggedIn", LoggedInSchema)
_access = schema_model(sessions, "Access", AccessSchema)
#: Of answers with tokens, as RFC 6749 asks for.
_NO_STORE = {"Cache-Control": "no-store"}
_WRONG = "There is no such account, or the password is wrong."


class WrongCredentials(NotAuthenticated):
    default_reason = "credentials_wrong"
    challenge_error = None


@sessions.route("/auth")
class LogIn(Resource):
    # The body may be missing: with HTTP Basic there is none.
    @sessions.doc(security=[{"basic": []}, {}], params={"payload": {"required": False}})
    @sessions.expect(_credentials)
    @sessions.response(200, "The tokens of a new session", _logged_in)
    @answers_problems(400, 413, 415, 429, 503, words={401: _WRONG})
    def post(self) -> Any:
        """Log in

        With HTTP Basic or with a JSON body; where both come, the body is not read.
        """
        given = _given_credentials()
        count_attempt(given["user_id"])
        user = _check(**given)
        return LoggedInSchema().dump({"user": user, **start_session(user)}), 200, _NO_STORE


@sessions.route("/refresh")
class Refresh(Resource):
    @sessions.doc(security="bearer")
    @sessions.response(200, "Another access token of the same session", _access)
    @answers_problems(401, 503)
    @jwt_required(refresh=True)
    def post(self) -> Any:
        """Get another access token

        The bearer token must be the refresh token here.
        """
        return AccessSchema().dump(renew_session(current_user)), 200, _NO_STORE


@sessions.route("/logout")
class LogOut(Resource):
    @sessions.doc(security="bearer")
    @sessions.response(204, "Both tokens of the session are refused from now on")
    @answers_problems(401, 503)
    @jwt_required(verify_type=False)
    def post(self) -> Any:
        """Log out

        With either token of the session.
        """
        end_session()
        return "", 204


def _given_credentials() -> dict[str, str]:
    schema = CredentialsSchema()
    scheme, _, _ = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return load_body(schema)
    try:
        basic = request.authorization
    except ValueError:
        basic = None  # werkzeug stumbles over characters beyond ASCII
    if basic is None:
        raise InvalidInput("The Basic credentials cannot be read.", reason="basic_malformed")
    given: dict[str, str] = schema.load({"user_id": basic.username, "user_password": basic.password})
    return given


def _check(user_id: str, user_password: str) -> User:
    """:raises WrongCredentials: the same, and after as long, whatever of the two is wrong."""
    user = db.session.get(User, user_id)
    db.session.close()  # others need the connection while this one waits for its hash
    right, newer_hash = check_password(user_password, user.password_hash if user else None)
    if user is None or not right:
        raise WrongCredentials(_WRONG)
    if newer_hash is not None:
        # Unless the password was changed meanwhile, which this must not undo.
        unchanged = (User.user_id == user_id) & (User.password_hash == user.password_hash)
        db.session.execute(update(User).where(unchanged).values(password_hash=newer_hash))
        db.session.commit()
    return user
