"""The platform's wire protocol, as pure functions: no Flask, no I/O, and time is a parameter.

Facts come from the platform's public Python SDK 0.23; where it is silent, a setting says so. Times
are seconds since the epoch, lives and leeways are seconds.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import jwt
from jwt.algorithms import HMACAlgorithm

#: The platform's host in each environment.
HOSTS = {"dev": "kongmeta.dev", "stg": "kongmeta.kr", "prod": "orbro.io"}
USER_AGENT = "meta-platform-connect"
CONNECT_ISSUER = "meta-platform-connect"
WEBHOOK_ISSUER = "meta-platform-webhook"

USER_PATH = "/api/v1/auth"
CONNECT_PATH = "/api/v1/connect-auth/token"
OPEN_API_PATH = "/api/v1/oauth/token"

#: Longest token that is looked at, in characters.
MAX_TOKEN = 8192
#: A key shorter than HS256's digest is refused (RFC 7518, section 3.2), in bytes.
MIN_SECRET = 32

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
#: What ``installed`` may name an organization or a user; a database takes it without complaint.
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,255}")
_BEARER = re.compile(r"Bearer ([A-Za-z0-9_~+/.=-]+)", re.ASCII)
#: A secret in which the JWT library need not look for an asymmetric key: those have a space, a brace or a
#: control character, or begin so.
_PLAIN_SECRET = re.compile(r"(?!ssh-|ecdsa-)[A-Za-z0-9_+/=.~-]{32,}")
_hmac = HMACAlgorithm(HMACAlgorithm.SHA256)
_jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})


def is_usable_secret(value: str) -> bool:
    """Whether a secret can sign tokens: long enough, and nothing that looks like an asymmetric key."""
    if _PLAIN_SECRET.fullmatch(value):
        return True  # each delivery asks
    try:
        _hmac.prepare_key(value)
        return len(value.encode()) >= MIN_SECRET
    except (jwt.InvalidKeyError, UnicodeError):
        return False


class TokenError(ValueError):
    """A token is not acceptable. ``reason`` is a stable word for the log; it never holds the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_identifier(value: object) -> bool:
    """Whether ``installed`` may have named an organization, or a user, so."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def subdomain_label(value: str) -> str | None:
    """The case-folded subdomain, or ``None`` where the value is not a single DNS label."""
    if len(value) > 63 or not value.isascii():
        return None
    label = value.lower()
    return label if _LABEL.fullmatch(label) else None


def subdomain_of_origin(origin: str, *, scheme: str, host: str) -> str | None:
    """The subdomain that an ``origin`` names, or ``None`` where it names none of this platform.

    Only ``{scheme}://{label}.{host}`` is an origin: user info, another port, a path, a query, a
    percent escape or a second label cannot be part of a label, so nothing else has to be looked for.

    :param origin: what the caller sent.
    :param scheme: the configured scheme.
    :param host: the configured host, with its port where it has one.
    """
    prefix, suffix = f"{scheme}://", f".{host}"
    if len(origin) > len(prefix) + 63 + len(suffix) or not origin.isascii():
        return None
    folded = origin.lower()
    if not (folded.startswith(prefix) and folded.endswith(suffix)):
        return None
    return subdomain_label(folded[len(prefix) : -len(suffix)])


def organization_origin(subdomain: str, *, scheme: str, host: str) -> str:
    """Where an organization lives: ``https://{subdomain}.{host}``."""
    return f"{scheme}://{subdomain}.{host}"


def bearer_token(authorization: str) -> str | None:
    """The token of an ``Authorization`` header: exactly ``Bearer``, one space, one token."""
    if len(authorization) > MAX_TOKEN + 7:
        return None
    match = _BEARER.fullmatch(authorization)
    return match.group(1) if match else None


def mint_app_token(
    *, client_id: str, shared_secret: str, user_id: str | None, now: float, lifetime: float
) -> str:
    """An app token: what the app shows the platform in an organization's name.

    ``sub`` is left out where the installing user is not known.
    """
    claims: dict[str, Any] = {
        "iss": client_id,
        "iat": int(now),
        "exp": int(now + lifetime),
        "issued_by": CONNECT_ISSUER,
    }
    if user_id:
        claims["sub"] = f"uuid:{user_id}"
    return _jwt.encode(claims, shared_secret, algorithm="HS256")


def peek_claims(token: str) -> dict[str, Any]:
    """The claims of a token *without any verification*; empty where they cannot be read.

    Good for choosing which secret to verify with and for refusing early, never for believing.
    """
    try:
        return _unverified_claims(token)
    except TokenError:
        return {}


def _unverified_claims(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        raise TokenError("malformed")
    try:
        # Not the JWT library's way, which costs ten times as much: nothing is believed here.
        return read_claims(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    except ValueError:  # a TokenError is one
        raise TokenError("malformed") from None


def is_platform_token(token: str) -> bool:
    """Whether a token looks like one of the platform's, which no other back end may be shown.

    ``issued_by`` is in no other token that is known; a platform user's has ``data`` and no ``iss``.
    """
    claims = peek_claims(token)
    return "issued_by" in claims or ("data" in claims and "iss" not in claims)


def token_expiry(token: str) -> float | None:
    """The ``exp`` a token itself names, unverified; it may shorten a cache entry, never lengthen it."""
    try:
        return named_expiry(token)
    except TokenError:
        return None


def named_expiry(token: str) -> float | None:
    """As :func:`token_expiry`, for tokens of others: ``None`` is one that names no expiry.

    :raises TokenError: it looks like a JWT, and its claims, or its ``exp``, cannot be read.
    """
    return claim_time(_unverified_claims(token), "exp") if token.count(".") == 2 else None


def claim_text(claims: Mapping[str, Any], name: str) -> str:
    """:raises TokenError: where the claim is missing, or no text."""
    value = claims.get(name)
    if not isinstance(value, str):
        raise TokenError(f"{name}_not_text")
    return value


def claim_time(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim in seconds since the epoch; ``None`` where it is missing.

    :raises TokenError: where it is no time.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise TokenError(f"{name}_not_a_time")
    return float(value)


def read_claims(payload: bytes) -> dict[str, Any]:
    """What a part of a token says.

    :raises TokenError: where it is no JSON object, names a member twice, or a number that is none.
    """
    try:
        claims = _json.decode(payload.decode())  # UTF-8 alone
    except (ValueError, RecursionError):  # a TokenError is a ValueError
        raise TokenError("malformed") from None
    if not isinstance(claims, dict):
        raise TokenError("malformed")
    return claims


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise TokenError("duplicate_member")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise TokenError("not_a_number")


_json = json.JSONDecoder(object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
