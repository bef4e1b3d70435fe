"""What the stand-ins take for a credential. Nothing here is secret: whoever is on this machine gets in."""

from __future__ import annotations

import hmac
from typing import Any

import jwt
from flask import request

from ..app import runtime
from ..errors import PlatformRefusal, invalid_token
from ..state import State

API_KEY = "key-of-the-weather-stand-in"
CLIENT_ID = "client-of-the-stand-ins"
CLIENT_SECRET = "secret-of-the-stand-ins"  # noqa: S105
TOKEN_LIFE, ENTRA_TOKEN_LIFE = 300, 3600

_ALGORITHM = "HS256"
# Times are judged by the platform's clock, which tests may move.
_JWT = jwt.PyJWT(options={"verify_exp": False, "verify_iat": False, "verify_aud": False})


def same(expected: str, given: str | None) -> bool:
    """:returns: whether a credential is the right one."""
    return hmac.compare_digest(expected.encode(), (given or "").encode())


def oauth_token(platform: State, scope: str) -> str:
    """:returns: a token of the OAuth stand-in; :data:`TOKEN_LIFE` in seconds."""
    return _sign(platform, {"use": "backend", "scope": scope}, TOKEN_LIFE)


def entra_token(
    platform: State, subdomain: str, email: str | None = None, *, expires_in: float = ENTRA_TOKEN_LIFE
) -> str:
    """
    :param email: a user of the organization; ``None``: its administrator.
    :returns: a token that only the sidecar's stand-in takes; Entra has no part in it.
    :raises SimulatorError: there is no such user.
    """
    organization = platform.organization(subdomain)
    user = platform.user(organization, email)
    claims = {
        "use": "entra",
        "iss": "https://login.example/stand-in",
        "tid": organization.id,
        "oid": user["id"],
        "preferred_username": user["email"],
        "name": user["name"],
    }
    return _sign(platform, claims, expires_in)


def need_scope(scope: str) -> None:
    """
    :raises PlatformRefusal: 401 without an OAuth token that is good, 403 where it lacks the scope.
    """
    if scope not in _claims("backend")["scope"].split():
        raise PlatformRefusal(403, "INSUFFICIENT_SCOPE", f"The token lacks the scope {scope}.")


def entra_user() -> dict[str, Any]:
    """
    :returns: the claims of the user who calls.
    :raises PlatformRefusal: 401.
    """
    return _claims("entra")


def _claims(use: str) -> dict[str, Any]:
    platform = runtime().platform
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        claims: dict[str, Any] = _JWT.decode(token.strip(), platform.key, algorithms=[_ALGORITHM])
    except (jwt.PyJWTError, ValueError, RecursionError):
        claims = {}
    if scheme.lower() != "bearer" or claims.get("use") != use or claims["exp"] <= platform.clock():
        raise invalid_token()
    return claims


def _sign(platform: State, claims: dict[str, Any], expires_in: float) -> str:
    now = int(platform.clock())
    return _JWT.encode({**claims, "iat": now, "exp": int(now + expires_in)}, platform.key, _ALGORITHM)
