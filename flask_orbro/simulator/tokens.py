"""Tokens: made and checked as the platform does it.

Written from the wire facts alone and sharing no code with the extension, so that a mistake there
cannot hide behind the same mistake here.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import uuid
from typing import Any

import jwt

from .errors import PlatformRefusal, invalid_token
from .models import Installation, Organization, User
from .state import State

APP_ISSUER = "meta-platform-connect"
WEBHOOK_ISSUER = "meta-platform-webhook"
APP_TOKEN_LIFE = 1800
PLATFORM_TOKEN_LIFE = 3600
WEBHOOK_TOKEN_LIFE = 300

# Times are judged by the platform's own clock, which tests may move.
_JWT = jwt.PyJWT(options={"verify_exp": False, "verify_iat": False, "verify_nbf": False})
_ALGORITHMS = ["HS256"]


class Tokens(State):
    """The platform's tokens. Lives are in seconds; a negative one makes an expired token."""

    def user_token(
        self, subdomain: str, email: str | None = None, *, expires_in: float = PLATFORM_TOKEN_LIFE
    ) -> str:
        """
        :param email: a user of the organization; ``None``: its administrator.
        :returns: a platform user token, good on this organization's host only.
        :raises SimulatorError: there is no such user.
        """
        organization = self.organization(subdomain)
        return self._own(organization, self.user(organization, email), "user", expires_in)

    def connect_token(
        self,
        subdomain: str,
        email: str | None = None,
        *,
        scope: str = "",
        expires_in: float = PLATFORM_TOKEN_LIFE,
    ) -> str:
        """
        :param email: on whose behalf the caller acts; ``None``: the administrator.
        :param scope: what the caller may do, separated by spaces.
        :returns: a connect-app token of another caller of this organization.
        :raises SimulatorError: there is no such user.
        """
        organization = self.organization(subdomain)
        user = self.user(organization, email)
        return self._own(organization, user, "connect", expires_in, scope=scope)

    def open_api_token(self, *, expires_in: float = PLATFORM_TOKEN_LIFE) -> str:
        """:returns: an Open API token of the developer's own organization."""
        owner = self.open_api_owner
        return self._own(owner, self.user(owner), "open-api", expires_in)

    def webhook_token(
        self,
        subdomain: str,
        app_url: str | None = None,
        *,
        older_sub: bool = False,
        expires_in: float = WEBHOOK_TOKEN_LIFE,
    ) -> str:
        """
        :param app_url: whose secret signs it; ``None``: the organization's only app.
        :param older_sub: name the installing user in ``sub``, not the organization.
        :returns: a webhook token.
        :raises SimulatorError: the app was never installed.
        """
        row = self.installation(subdomain, app_url)
        old, new = f"uuid:{row.installed_user_id}", f"organizationId:{row.organization_id}"
        claims = {"issued_by": WEBHOOK_ISSUER, "sub": old if older_sub else new}
        return self._sign(claims, row.shared_secret, expires_in)

    def app_token(self, row: Installation, *, expires_in: float = APP_TOKEN_LIFE) -> str:
        """:returns: an app token for the installation, as the app itself would make it."""
        claims = {"issued_by": APP_ISSUER, "sub": f"uuid:{row.installed_user_id}"}
        if row.client_id is not None:
            claims["iss"] = row.client_id
        return self._sign(claims, row.shared_secret, expires_in)

    def check_user_token(self, organization: Organization, token: str) -> User:
        """
        :returns: the user whose token this is.
        :raises PlatformRefusal: 401, it is expired, foreign or no user token.
        """
        return self._check_own(organization, token, "user")[0]

    def check_open_api_token(self, token: str) -> User:
        """
        :returns: the user of the developer's organization whose token this is.
        :raises PlatformRefusal: 401.
        """
        return self._check_own(self.open_api_owner, token, "open-api")[0]

    def check_connect_token(self, organization: Organization, token: str) -> dict[str, Any]:
        """Judge a connect-app token or an app token of an app installed here.

        :returns: ``id``, ``uuid``, ``organization_id``, ``role``, ``status``, ``scope``.
        :raises PlatformRefusal: 401.
        """
        row = self._find_installation(organization, token)
        if row is not None:
            user = organization.users.get(row.installed_user_id, {})
            return _verdict(row.id, row.installed_user_id, organization, user, row.scope)
        user, claims = self._check_own(organization, token, "connect")
        return _verdict(user["id"], user["uuid"], organization, user, claims["scope"])

    def check_app_token(self, organization: Organization, token: str) -> Installation:
        """
        :returns: the active installation whose app made the token.
        :raises PlatformRefusal: 401.
        """
        row = self._find_installation(organization, token)
        if row is None:
            raise invalid_token()
        return row

    def exchange(self, organization: Organization, username: str, password: str) -> str:
        """Issue an app token remotely.

        :param username: base64 of ``client_id:client_secret``.
        :param password: a user token of this organization.
        :returns: an app token.
        :raises PlatformRefusal: 401.
        """
        client_id, client_secret = _client(username)
        self.check_user_token(organization, password)
        with self.lock:
            rows = [row for row in organization.installations.values() if row.active]
        # An app known by this very client id comes before one whose client id is not known.
        for row in sorted(rows, key=lambda row: row.client_id is None):
            if _same(row.client_id, client_id) and _same(row.client_secret, client_secret):
                return self.app_token(row)
        raise invalid_token("No app with this client id and secret is installed.")

    def _find_installation(self, organization: Organization, token: str) -> Installation | None:
        with self.lock:
            rows = [row for row in organization.installations.values() if row.active]
        for row in rows:
            claims = _claims(token, row.shared_secret)
            if claims is not None:
                self._check_app_claims(row, claims)
                return row
        return None

    def _check_app_claims(self, row: Installation, claims: dict[str, Any]) -> None:
        if claims.get("issued_by") != APP_ISSUER:
            raise invalid_token("The token was not issued by a Connect app.")
        if row.client_id is not None and claims.get("iss") != row.client_id:
            raise invalid_token("The token's issuer is not the installed app.")
        if "sub" in claims and claims["sub"] != f"uuid:{row.installed_user_id}":
            raise invalid_token("The token's subject is not the user who installed the app.")
        self._check_expiry(claims)

    def _check_own(self, organization: Organization, token: str, use: str) -> tuple[User, dict[str, Any]]:
        claims = _claims(token, self.key)
        if claims is None or claims["use"] != use or claims["organization_id"] != organization.id:
            raise invalid_token()
        self._check_expiry(claims)
        user = organization.users.get(claims["user_id"])
        if user is None:
            raise invalid_token("The user is gone.")
        return user, claims

    def _check_expiry(self, claims: dict[str, Any]) -> None:
        expires = claims.get("exp")
        if isinstance(expires, float) and not math.isfinite(expires):
            expires = None
        if isinstance(expires, bool) or not isinstance(expires, int | float):
            raise invalid_token("The token has no expiry.")
        if expires <= self.clock():
            raise PlatformRefusal(401, "TOKEN_EXPIRED", "The token has expired.")

    def _own(self, organization: Organization, user: User, use: str, expires_in: float, **more: str) -> str:
        claims = {
            "data": user["email"],
            "organization_id": organization.id,
            "user_id": user["id"],
            "use": use,
            "jti": str(uuid.uuid4()),
            **more,
        }
        return self._sign(claims, self.key, expires_in)

    def _sign(self, claims: dict[str, Any], key: str | bytes, expires_in: float) -> str:
        now = int(self.clock())
        times = {"iat": now, "exp": int(now + expires_in)}
        return _JWT.encode({**claims, **times}, key, algorithm="HS256")


def _claims(token: str, key: str | bytes) -> dict[str, Any] | None:
    try:
        return _JWT.decode(token, key, algorithms=_ALGORITHMS)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None


def _client(username: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(username, validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid_token("The username is not base64 of client_id:client_secret.") from None
    client_id, colon, client_secret = decoded.partition(":")
    if not colon:
        raise invalid_token("The username is not base64 of client_id:client_secret.")
    return client_id, client_secret


def _same(expected: str | None, given: str) -> bool:
    return expected is None or hmac.compare_digest(expected.encode(), given.encode())


def _verdict(
    caller_id: str, user_id: str, organization: Organization, user: User, scope: str
) -> dict[str, Any]:
    return {
        "id": caller_id,
        "uuid": user_id,
        "organization_id": organization.id,
        "role": user.get("role", "HQ"),
        "status": user.get("status", "Activated"),
        "scope": scope,
    }
