"""Passwords: hashed with bcrypt, and as much work for an account that is not there."""

from __future__ import annotations

import secrets
from functools import cache

from flask import Flask, current_app
from passlib.context import CryptContext

from ..config import whole_number


def init_passwords(app: Flask) -> None:
    """Do at the start what would make the first log-in slower than others.

    :raises ConfigurationError: ``PASSWORD_ROUNDS`` is no number that bcrypt can do in seconds.
    """
    _nobodys_hash(whole_number(app, "PASSWORD_ROUNDS", 4, 16))


def hash_password(password: str) -> str:
    return str(_context(_rounds()).hash(password))


def check_password(password: str, stored: str | None) -> tuple[bool, str | None]:
    """
    :param stored: the account's hash; ``None`` where there is no account, which takes the same time. A wrong
        password never takes less, whatever kind the hash is of. It takes more where the hash has more rounds,
        or is of an older and cheaper kind: longer by its own time, until it is replaced at a log-in.
    :returns: whether the password is right, and the hash to store instead of one of an older kind.
    """
    context, nobodys = _context(_rounds()), _nobodys_hash(_rounds())
    try:
        right, newer = context.verify_and_update(password, stored or nobodys)
        cheap = not right and _is_cheap(stored or nobodys)
    except ValueError:
        # Older kinds take no NUL, or no more than 72 bytes; nobody has such a password.
        right, newer, cheap = False, None, True
    if cheap:
        context.verify(password, nobodys)
    return right and stored is not None, newer


def _is_cheap(stored: str) -> bool:
    """Whether a check takes less time than that of a hash of today. Both kinds of bcrypt cost the same."""
    kind = _context(_rounds()).identify(stored, resolve=True)
    return not kind.name.startswith("bcrypt") or kind.from_string(stored).rounds < _rounds()


def _rounds() -> int:
    rounds: int = current_app.config["PASSWORD_ROUNDS"]
    return rounds


@cache
def _context(rounds: int) -> CryptContext:
    # The first is the one in use; hashes of the others, and with fewer rounds, are replaced at a log-in.
    kinds = ["bcrypt_sha256", "bcrypt", "pbkdf2_sha256"]
    return CryptContext(schemes=kinds, deprecated="auto", bcrypt_sha256__rounds=rounds)


@cache
def _nobodys_hash(rounds: int) -> str:
    return str(_context(rounds).hash(secrets.token_urlsafe()))
