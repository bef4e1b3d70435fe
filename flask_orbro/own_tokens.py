"""Telling the app's own JWTs (flask-jwt-extended's) from the platform's: they never leave the app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jwt

from .logs import get_logger

logger = get_logger(__name__)
_jws = jwt.PyJWS()


def is_own_token(token: str, app_config: Mapping[str, Any], jwt_manager: Any = None) -> bool:
    """Whether the app's own key signed a token, whatever it says.

    :param app_config: ``JWT_SECRET_KEY`` (else ``SECRET_KEY``), ``JWT_PUBLIC_KEY`` and
        ``JWT_PRIVATE_KEY`` are looked at.
    :param jwt_manager: flask-jwt-extended's, whose ``decode_key_loader`` is asked first.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in _jws.get_algorithms():
            return False
        keys = [*_loaded_key(token, header, jwt_manager), *_configured_keys(algorithm, app_config)]
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return any(_is_signed(token, key, algorithm) for key in keys if key)


def _loaded_key(token: str, header: dict[str, Any], jwt_manager: Any) -> Iterator[Any]:
    # flask-jwt-extended has no public way to ask for the key of a token that it need not accept.
    load = getattr(jwt_manager, "_decode_key_callback", None)
    if load is not None:
        claims = jwt.decode(token, options={"verify_signature": False})
        try:
            yield load(header, claims)
        except Exception as error:  # a loader for the app's own tokens may choke on another's
            logger.debug("The app's decode_key_loader knows no key for a token: %s.", type(error).__name__)


def _configured_keys(algorithm: str, app_config: Mapping[str, Any]) -> Iterator[Any]:
    if algorithm.startswith("HS"):
        yield app_config.get("JWT_SECRET_KEY") or app_config.get("SECRET_KEY")
        return
    yield app_config.get("JWT_PUBLIC_KEY")
    private = app_config.get("JWT_PRIVATE_KEY")
    if private:
        prepared = jwt.get_algorithm_by_name(algorithm).prepare_key(private)
        yield prepared.public_key() if hasattr(prepared, "public_key") else None


def _is_signed(token: str, key: Any, algorithm: str) -> bool:
    try:
        _jws.decode_complete(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return True
