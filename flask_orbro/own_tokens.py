"""Telling the app's own JWTs (flask-jwt-extended's) from the platform's: they never leave the app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

_jws = jwt.PyJWS()


def is_own_token(token: str, app_config: Mapping[str, Any]) -> bool:
    """Whether the app's own key signed a token, whatever it says.

    :param app_config: ``JWT_SECRET_KEY`` (else ``SECRET_KEY``) and ``JWT_PUBLIC_KEY`` are looked at.
    """
    try:
        algorithm = str(jwt.get_unverified_header(token).get("alg"))
        if algorithm.startswith("HS"):
            key = app_config.get("JWT_SECRET_KEY") or app_config.get("SECRET_KEY")
        else:
            key = app_config.get("JWT_PUBLIC_KEY")
        if not key:
            return False
        _jws.decode_complete(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return True
