"""The app's own tokens: a log-in makes a pair of them, a log-out ends both."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import Any
from uuid import uuid4

from flask import Flask, Response, current_app
from flask_jwt_extended import create_access_token, create_refresh_token, get_jwt
from flask_jwt_extended.config import config
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from flask_orbro import ConfigurationError, NotAuthenticated, problem_response

from ..extensions import db, jwt
from ..users.model import User
from .model import EndedSession

Claims = dict[str, Any]

#: What no random key has: words of manuals, the same eight characters twice.
_OF_MANUALS = re.compile(
    r"change|replace|example|secret|password|insecure|random|default|signing|develop|qwerty|(.{8}).*\1",
    re.IGNORECASE,
)
_REMEDY = (
    "Run 'flask orbro init' to write instance/application.cfg with a random one, or make one with "
    "python -c 'import secrets; print(secrets.token_urlsafe(48))'."
)


def init_tokens(app: Flask) -> None:
    """
    :raises ConfigurationError: ``JWT_SECRET_KEY`` is missing, or can be guessed in production: who knows it
        can log in as anybody.
    """
    key = app.config.get("JWT_SECRET_KEY")
    if not isinstance(key, str) or not key:
        raise ConfigurationError(f"JWT_SECRET_KEY is missing, or is no text. {_REMEDY}")
    if _can_be_guessed(key):
        fault = f"JWT_SECRET_KEY can be guessed; take 32 random characters or more. {_REMEDY}"
        if not app.config["WEAK_JWT_KEY_ALLOWED"]:
            raise ConfigurationError(fault)
        app.logger.warning(fault)
    jwt.init_app(app)


def _can_be_guessed(key: str) -> bool:
    """Whether it is too short, or of a kind that people write; what a dice would hardly give."""
    key = "".join(key.split())  # blanks are no secret
    steps = [ord(after) - ord(before) for before, after in pairwise(key)]
    even = any(len(set(steps[at : at + 7])) == 1 for at in range(len(steps) - 6))  # such as abcdefgh
    return len(key) < 32 or len(set(key)) < 10 or even or _OF_MANUALS.search(key) is not None


def start_session(user: User) -> dict[str, str]:
    """``access_token`` and ``refresh_token`` of a new session."""
    session = {"sid": uuid4().hex}
    return {
        # Fresh: with a password just now, for what @jwt_required(fresh=True) guards.
        "access_token": create_access_token(user, fresh=True, additional_claims=session),
        "refresh_token": create_refresh_token(user, additional_claims=session),
    }


def renew_session(user: User) -> dict[str, str]:
    """Another ``access_token`` of the current session."""
    return {"access_token": create_access_token(user, additional_claims={"sid": get_jwt()["sid"]})}


def end_session() -> None:
    """Have every process refuse the tokens of the current session, from now on."""
    now = time.time()
    db.session.add(EndedSession(sid=get_jwt()["sid"], forget_at=_last_expiry(now)))
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()  # the session was ended twice at the same time
    _forget_sessions(now)


def _forget_sessions(now: float) -> None:
    """In a transaction of its own: no log-out waits for the cleaning of another, or fails with it."""
    try:
        db.session.execute(delete(EndedSession).where(EndedSession.forget_at < now))
        db.session.commit()
    except SQLAlchemyError as error:
        db.session.rollback()
        current_app.logger.warning("Ended sessions are not forgotten yet: %s.", type(error).__name__)


def _last_expiry(now: float) -> float | None:
    """An access token may be made at the very end of its refresh token's life."""
    lives = [life.total_seconds() for life in (config.refresh_expires, config.access_expires) if life]
    return now + sum(lives) if len(lives) == 2 else None


@jwt.user_identity_loader
def _identity(user: User) -> str:
    return user.user_id


@jwt.user_lookup_loader
def _user(_header: Claims, claims: Claims) -> User | None:
    return db.session.get(User, claims["sub"])


@jwt.token_in_blocklist_loader
def _has_ended(_header: Claims, claims: Claims) -> bool:
    # A token without a session could never be taken back.
    sid = claims.get("sid")
    return not isinstance(sid, str) or db.session.get(EndedSession, sid) is not None


@jwt.unauthorized_loader
def _missing(_words: str) -> Response:
    return _refusal("A bearer token is needed: 'Authorization: Bearer …'.", "token_missing")


@jwt.invalid_token_loader
def _invalid(_words: str) -> Response:
    return _refusal("This token is not valid here.", "token_invalid")


@jwt.token_verification_failed_loader
def _not_verified(_header: Claims, _claims: Claims) -> Response:
    return _refusal("This token is not valid here.", "token_invalid")


@jwt.needs_fresh_token_loader
def _stale(_header: Claims, _claims: Claims) -> Response:
    return _refusal("Log in again: this needs a token of a log-in, not a renewed one.", "token_not_fresh")


@jwt.expired_token_loader
def _expired(_header: Claims, _claims: Claims) -> Response:
    return _refusal("This token has expired.", "token_expired")


@jwt.revoked_token_loader
def _revoked(_header: Claims, _claims: Claims) -> Response:
    return _refusal("This session has ended.", "session_ended")


@jwt.user_lookup_error_loader
def _gone(_header: Claims, _claims: Claims) -> Response:
    return _refusal("This account is gone.", "account_gone")


def _refusal(detail: str, reason: str) -> Response:
    return problem_response(NotAuthenticated(detail, reason=reason))
