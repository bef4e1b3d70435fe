"""Finding and checking the settings of :mod:`.config`, once at ``init_app``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Config as FlaskConfig

from .checks import text
from .config import INSTANCE_FILE, SETTINGS, Config
from .errors import ConfigurationError
from .protocol import HOSTS


def resolve(
    arguments: Mapping[str, Any],
    app_config: Mapping[str, Any],
    instance_path: str | Path,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Find and check every setting: argument, ``app.config``, the instance file, default.

    :param arguments: by field name; ``None`` means not given.
    :param instance_path: the folder of ``application.cfg``.
    :raises ConfigurationError: naming the key, the fault and the remedy.
    """
    instance_file = Path(instance_path) / INSTANCE_FILE
    sources = [
        ("the arguments of OrbroConnect", {"ORBRO_" + k.upper(): v for k, v in arguments.items()}),
        ("app.config", dict(app_config)),
        (str(instance_file), _read_instance_file(instance_file)),
    ]
    _refuse_unknown_keys(sources[1:])
    values: dict[str, Any] = {}
    for key, item in SETTINGS.items():
        where, value = _find(key, sources, environ)
        if value is not None:
            values[item.name] = _checked(key, value, where, item.metadata)
    values["env"] = values.get("env") or _environment(environ)
    values.setdefault("platform_host", HOSTS[values["env"]])
    for name in ("client_id", "client_secret"):
        if name not in values:
            raise ConfigurationError(_missing("ORBRO_" + name.upper(), instance_file))
    config = Config(**values)
    _check_scheme(config)
    _check_token_times(config)
    _check_inbox_times(config)
    return config


def everything(app_config: Mapping[str, Any], instance_path: str | Path) -> Mapping[str, Any]:
    """``app.config``, and what only the instance file has: where references of connections lead."""
    return _read_instance_file(Path(instance_path) / INSTANCE_FILE) | dict(app_config)


def _read_instance_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    loaded = FlaskConfig(path.parent)
    try:
        loaded.from_pyfile(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except Exception as error:
        line = getattr(error, "lineno", None)
        at = f", line {line}" if line else ""
        raise ConfigurationError(f"{path}{at} is not valid: {type(error).__name__}.") from None
    return dict(loaded)


def _find(key: str, sources: list[tuple[str, dict[str, Any]]], environ: Mapping[str, str]) -> tuple[str, Any]:
    for where, values in sources:
        value = values.get(key)
        if value is not None and value != "":
            if where == "app.config":
                value = _text_it_was(key, value, environ)
            return where, value
    return "", None


def _text_it_was(key: str, value: Any, environ: Mapping[str, str]) -> Any:
    """A text setting that Flask's environment loader turned into a number, as it was written."""
    if isinstance(value, str) or SETTINGS[key].metadata["check"] is not text:
        return value
    for name, written in environ.items():
        if name.endswith("_" + key):
            try:
                if repr(json.loads(written)) == repr(value):  # tells 1 from true, and knows NaN
                    return written
            except ValueError:
                continue
    return str(value) if type(value) is int else value


def _checked(key: str, value: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    try:
        return metadata["check"](value)
    except ValueError as error:
        # The checks of secrets never quote a value.
        raise ConfigurationError(f"{key} (from {where}) {error}. {metadata['doc']}") from None


def _environment(environ: Mapping[str, str]) -> str:
    """``ORBRO_ENV``, ``SERVICE_ENV``, ``ENV`` of the process, else ``dev``."""
    for name in ("ORBRO_ENV", "SERVICE_ENV", "ENV"):
        value = environ.get(name)
        if value:
            where = "the environment; ORBRO_ENV goes before SERVICE_ENV and ENV"
            return str(_checked(name, value, where, SETTINGS["ORBRO_ENV"].metadata))
    return "dev"


def _missing(key: str, instance_file: Path) -> str:
    return (
        f"{key} is missing. It was looked for in the arguments of OrbroConnect, in app.config and in "
        f"{instance_file}. Run 'flask orbro init --instance-path {instance_file.parent}' to write that file, "
        "then put the value that the platform gave you there."
    )


def _check_scheme(config: Config) -> None:
    name = config.platform_host.partition(":")[0]
    if config.platform_scheme == "http" and name != "localhost" and not name.endswith(".localhost"):
        # Not for 127.0.0.1 either: organizations live at names below the host, and an address has none.
        raise ConfigurationError(
            f"ORBRO_PLATFORM_SCHEME is 'http', but {name} is no name of loopback: credentials would travel "
            "in clear. Use 'https', or localhost and names under it, such as orbro.localhost:8001."
        )


def _check_token_times(config: Config) -> None:
    if config.token_leeway >= config.token_lifetime:
        raise ConfigurationError(
            f"ORBRO_TOKEN_LEEWAY ({config.token_leeway:g} s) must be shorter than ORBRO_TOKEN_LIFETIME "
            f"({config.token_lifetime:g} s): else a token is made for every call."
        )


def _check_inbox_times(config: Config) -> None:
    if config.inbox_max_age < config.webhook_duplicate_window:
        raise ConfigurationError(
            f"ORBRO_INBOX_MAX_AGE ({config.inbox_max_age:g} s) must not be shorter than "
            f"ORBRO_WEBHOOK_DUPLICATE_WINDOW ({config.webhook_duplicate_window:g} s): a duplicate is known "
            "only while the first one is kept."
        )


def _refuse_unknown_keys(sources: list[tuple[str, dict[str, Any]]]) -> None:
    for where, values in sources:
        for key in values:
            if key.startswith("ORBRO_") and key not in SETTINGS:
                raise ConfigurationError(f"{key} (from {where}) is not a setting of Flask-Orbro.")
