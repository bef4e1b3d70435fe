"""What the app is configured with, and in which order it is found.

1. the defaults below, and those of the environment,
2. ``application.cfg`` in the instance folder,
3. environment variables with Flask's prefix: ``FLASK_SQLALCHEMY_DATABASE_URI=…``,
4. the argument of :func:`~example_app.create_app`.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cachelib.serializers import JSONSerializer
from flask import Config, Flask

from flask_orbro import ConfigurationError

#: A mapping, an object with upper-case attributes, or the name of an environment.
ConfigArgument = Mapping[str, Any] | str | object | None


class JsonOfCache(JSONSerializer):
    """Instead of pickle, with which whoever writes to the cache could run code here."""

    def loads(self, bvalue: str | bytes | bytearray | None, *args: Any, **kwargs: Any) -> Any:
        return None if bvalue is None else super().loads(bvalue, *args, **kwargs)


_OAUTH = {
    "kind": "oauth2_client_credentials",
    "token_url": {"config": "OAUTH_TOKEN_URL"},
    "client_id": {"config": "OAUTH_CLIENT_ID"},
    "client_secret": {"config": "OAUTH_CLIENT_SECRET"},
}
#: Other back ends by name: how they are reached is code, where they are and what is secret is not.
CONNECTIONS = {
    "weather": {
        "url": {"config": "WEATHER_URL"},
        "auth": {"kind": "api_key", "query": "key", "key": {"config": "WEATHER_KEY"}},
        "timeout": 10,
        "health": "/weather?city=Seoul",
    },
    "notes": {
        "url": {"config": "NOTES_URL"},
        "auth": {**_OAUTH, "scopes": ["notes"]},
        "timeout": 10,
        "health": "/notes",
    },
    "ehr": {
        "kind": "fhir",
        "url": {"config": "EHR_URL"},
        "auth": {**_OAUTH, "scopes": ["patients"]},
        "timeout": 10,
    },
    "sidecar": {
        "kind": "entra-sidecar",
        "url": {"config": "SIDECAR_URL"},
        "auth": {"kind": "forward"},
        "timeout": 10,
    },
}


class Defaults:
    #: A relative SQLite path starts at the instance folder. One database holds all tables.
    SQLALCHEMY_DATABASE_URI = "sqlite:///example.sqlite"
    #: A connection that the database has closed meanwhile is replaced, not answered with 500.
    #: Parameters of statements, such as password hashes, stay out of logs. Options of your own join these.
    SQLALCHEMY_ENGINE_OPTIONS = {"pool_pre_ping": True, "hide_parameters": True}
    #: Whether a start brings the database up to date.
    MIGRATE_ON_START = True
    #: Without any, the routes that need them are not there.
    ORBRO_CONNECTIONS: Mapping[str, Any] = {}

    #: Whether a ``JWT_SECRET_KEY`` that can be guessed only gives a warning.
    WEAK_JWT_KEY_ALLOWED = True
    #: A hash with one round more takes twice as long; 12 are about a quarter of a second.
    PASSWORD_ROUNDS = 12
    #: How often a password may be tried; where Redis is configured, counted over all processes.
    ATTEMPTS_PER_ACCOUNT = "10 per minute; 100 per hour"
    ATTEMPTS_PER_ADDRESS = "30 per minute"
    ATTEMPTS_STORAGE = "memory://"
    ATTEMPTS_STORAGE_OPTIONS: dict[str, Any] = {}
    #: How many proxies in front of the app tell it the caller's address and scheme.
    TRUSTED_PROXIES = 0

    #: ``RedisCache`` where Redis is configured.
    CACHE_TYPE = "SimpleCache"
    CACHE_SERIALIZER = JsonOfCache()
    CACHE_KEY_PREFIX = "example:"
    CACHE_DEFAULT_TIMEOUT = 60
    #: How many entries memory may hold; a page of long posts has about a megabyte.
    CACHE_THRESHOLD = 64

    # Swagger UI opens with all operations to be seen.
    SWAGGER_UI_DOC_EXPANSION = "list"
    # A valid document has no dangling references, and errors have the one shape.
    RESTX_INCLUDE_ALL_MODELS = True
    RESTX_MASK_SWAGGER = False
    RESTX_ERROR_404_HELP = False


class _StandIns:
    """The other back ends are those of ``flask orbro simulator``, whose secrets everybody knows."""

    ORBRO_CONNECTIONS = CONNECTIONS
    WEATHER_URL = NOTES_URL = "http://127.0.0.1:8001/backends"
    EHR_URL = "http://127.0.0.1:8001/backends/fhir"
    SIDECAR_URL = "http://127.0.0.1:8001/backends/sidecar"
    OAUTH_TOKEN_URL = "http://127.0.0.1:8001/backends/oauth/token"  # noqa: S105
    OAUTH_CLIENT_ID = "client-of-the-stand-ins"
    OAUTH_CLIENT_SECRET = "secret-of-the-stand-ins"  # noqa: S105
    WEATHER_KEY = "key-of-the-weather-stand-in"


class Development(_StandIns):
    """On a developer's machine: what the defaults say."""


class Testing(_StandIns):
    """Needs nothing, keeps nothing."""

    TESTING = True
    SQLALCHEMY_DATABASE_URI = "sqlite://"
    ORBRO_CLIENT_ID = "testing"
    ORBRO_CLIENT_SECRET = "only-for-tests-0123456789-0123456789"  # noqa: S105
    ORBRO_ENCRYPTION_KEYS = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    JWT_SECRET_KEY = secrets.token_urlsafe(48)
    PASSWORD_ROUNDS = 4
    # The developer's Redis is left alone, whatever application.cfg says.
    ORBRO_REDIS_URL = ATTEMPTS_STORAGE = "memory://"
    CACHE_TYPE = Defaults.CACHE_TYPE
    # Tests ask for themselves; a thread would share their one connection.
    ORBRO_SWEEPER = False
    ORBRO_WORKER = "inline"


class Production:
    """Migrations are run by a person: ``python manage.py db upgrade``. ``ORBRO_ENV`` is ``prod`` where
    nothing names another.

    There are no other back ends until ``application.cfg`` says ``ORBRO_CONNECTIONS = CONNECTIONS``, and
    where they are.
    """

    MIGRATE_ON_START = False
    WEAK_JWT_KEY_ALLOWED = False


ENVIRONMENTS = {"development": Development, "testing": Testing, "production": Production}
_OF_PLATFORM = {"dev": "development", "stg": "production", "prod": "production"}


def load_config(app: Flask, config: ConfigArgument = None) -> None:
    """Configure the app.

    :raises ConfigurationError: saying what is wrong where.
    """
    given = Config(app.root_path)
    _read_instance_file(given, Path(app.instance_path) / "application.cfg")
    given.from_prefixed_env()
    named = config if isinstance(config, str) else None
    if isinstance(config, Mapping):
        given.from_mapping(config)
    elif config is not None and named is None:
        given.from_object(config)
    platform = _platform_environment(given)
    environment = _environment(named or _OF_PLATFORM.get(platform or "dev", "production"))
    app.config.from_object(Defaults)
    app.config.from_object(environment)
    app.config.from_mapping(given)
    if named is not None:
        app.config.from_object(environment)
    if environment is Production and platform is None:
        app.config["ORBRO_ENV"] = "prod"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = (
        Defaults.SQLALCHEMY_ENGINE_OPTIONS | app.config["SQLALCHEMY_ENGINE_OPTIONS"]
    )
    redis_url = app.config.get("ORBRO_REDIS_URL") or "memory://"
    if redis_url != "memory://":
        shared = _with_redis(redis_url)
        app.config.from_mapping({name: given.get(name, value) for name, value in shared.items()})


def whole_number(app: Flask, name: str, least: int, most: int) -> int:
    """A setting that is one.

    :raises ConfigurationError: naming it.
    """
    value = app.config[name]
    if type(value) is not int or not least <= value <= most:
        raise ConfigurationError(f"{name} must be a whole number from {least} to {most}, not {value!r}.")
    return value


def _with_redis(url: str) -> dict[str, Any]:
    """Have the processes share what they remember and count."""
    # A Redis that hangs must not hang the app.
    options = {"socket_connect_timeout": 1, "socket_timeout": 1}
    return {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": url,
        "CACHE_OPTIONS": options,
        "ATTEMPTS_STORAGE": url,
        "ATTEMPTS_STORAGE_OPTIONS": options,
    }


def _read_instance_file(given: Config, path: Path) -> None:
    try:
        given.from_pyfile(path, silent=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except Exception as error:
        # Not the error's own words: they would quote a line that may hold a secret.
        raise ConfigurationError(f"{path} is not valid: {type(error).__name__}.") from None


def _environment(name: str) -> type:
    try:
        return ENVIRONMENTS[name]
    except KeyError:
        known = ", ".join(ENVIRONMENTS)
        raise ConfigurationError(f"There is no environment {name!r}; there are {known}.") from None


def _platform_environment(given: Mapping[str, Any]) -> str | None:
    """Found as the extension finds it, so that both mean the same environment."""
    variables = (os.environ.get(name) for name in ("ORBRO_ENV", "SERVICE_ENV", "ENV"))
    return next((str(name).lower() for name in (given.get("ORBRO_ENV"), *variables) if name), None)
