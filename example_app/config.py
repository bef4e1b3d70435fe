"""What the app is configured with, and in which order it is found.

1. the defaults below, and those of the environment,
2. ``application.cfg`` in the instance folder,
3. environment variables with Flask's prefix: ``FLASK_SQLALCHEMY_DATABASE_URI=…``,
4. the argument of :func:`~example_app.create_app`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Config, Flask

from flask_orbro import ConfigurationError

#: A mapping, an object with upper-case attributes, or the name of an environment.
ConfigArgument = Mapping[str, Any] | str | object | None


class Defaults:
    #: A relative SQLite path starts at the instance folder. One database holds all tables.
    SQLALCHEMY_DATABASE_URI = "sqlite:///example.sqlite"
    #: A connection that the database has closed meanwhile is replaced, not answered with 500.
    SQLALCHEMY_ENGINE_OPTIONS = {"pool_pre_ping": True}
    #: Whether a start brings the database up to date.
    MIGRATE_ON_START = True

    # A valid document has no dangling references, and errors have the one shape.
    RESTX_INCLUDE_ALL_MODELS = True
    RESTX_MASK_SWAGGER = False
    RESTX_ERROR_404_HELP = False


class Development:
    """On a developer's machine: what the defaults say."""


class Testing:
    """Needs nothing, keeps nothing."""

    TESTING = True
    SQLALCHEMY_DATABASE_URI = "sqlite://"
    ORBRO_CLIENT_ID = "testing"
    ORBRO_CLIENT_SECRET = "only-for-tests-0123456789-0123456789"  # noqa: S105
    # Tests ask for themselves; a thread would share their one connection.
    ORBRO_SWEEPER = False


class Production:
    """Migrations are run by a person: ``flask --app example_app db upgrade``."""

    MIGRATE_ON_START = False


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
    environment = _environment(named or _OF_PLATFORM.get(_platform_environment(given), "production"))
    app.config.from_object(Defaults)
    app.config.from_object(environment)
    app.config.from_mapping(given)
    if named is not None:
        app.config.from_object(environment)


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


def _platform_environment(given: Mapping[str, Any]) -> str:
    """Found as the extension finds it, so that both mean the same environment."""
    variables = (os.environ.get(name) for name in ("ORBRO_ENV", "SERVICE_ENV", "ENV"))
    return next((str(name) for name in (given.get("ORBRO_ENV"), *variables) if name), "dev")
