"""Every ``ORBRO_`` setting: its default, its unit and its check, resolved once at ``init_app``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from flask import Config as FlaskConfig

from .checks import host, number, one_of, path_on_app, switch, text, whole
from .errors import ConfigurationError
from .protocol import HOSTS

INSTANCE_FILE = "application.cfg"


def _setting(
    default: Any, check: Callable[[Any], Any], doc: str, *, unit: str = "", secret: bool = False
) -> Any:
    """One setting; :func:`settings_table` and :func:`resolve` read its metadata."""
    return field(
        default=default,
        repr=not secret,
        metadata={"check": check, "doc": doc, "unit": unit, "secret": secret},
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The resolved settings of one app. The field ``client_id`` is the key ``ORBRO_CLIENT_ID``."""

    client_id: str = _setting(None, text, "The app's client id, from the platform. Required.")
    client_secret: str = _setting(None, text, "The app's client secret. Required.", secret=True)
    open_api_token: str | None = _setting(
        None, text, "Open API token of the developer's own organization.", secret=True
    )
    env: str = _setting("dev", one_of(*HOSTS), "`dev`, `stg` or `prod`; decides the host.")
    platform_host: str = _setting(None, host, "Overrides the environment's host; a port is allowed.")
    platform_scheme: str = _setting(
        "https", one_of("https", "http"), "`http` for loopback and `*.localhost` alone."
    )
    descriptor: str = _setting(
        "connect.json", text, "The app descriptor; a relative path starts at the app's root."
    )
    descriptor_url: str = _setting(
        "/connect.json", path_on_app, "The path at which the descriptor is served."
    )
    redis_url: str | None = _setting(
        None, text, "Redis for tokens and verdicts; without it: memory.", secret=True
    )
    connect_timeout: float = _setting(3.0, number(0.01, 60), "To connect to the platform.", unit="s")
    request_timeout: float = _setting(
        30.0, number(0.05, 600), "For each read and write of an outbound call.", unit="s"
    )
    verdict_timeout: float = _setting(
        10.0, number(0.05, 60), "The platform's verdict on a caller, in all.", unit="s"
    )
    proof_timeout: float = _setting(
        3.0, number(0.05, 30), "The platform's verdict on a claimed secret, in all.", unit="s"
    )
    call_attempts: int = _setting(
        3, whole(1, 20), "How often an outbound call is sent at most, where it may be repeated."
    )
    call_budget: float = _setting(
        60.0, number(0.1, 3600), "An outbound call with all its attempts, in all.", unit="s"
    )
    calls_per_organization: int = _setting(
        64, whole(1, 10_000), "Outbound calls at once for one organization, per process."
    )
    pool_size: int = _setting(100, whole(1, 10_000), "Connections kept to the platform, per process.")
    verdict_ttl: float = _setting(30.0, number(0, 3600), "How long an acceptance is remembered.", unit="s")
    verdict_negative_ttl: float = _setting(5.0, number(0, 300), "How long a refusal is remembered.", unit="s")
    outage_memory: float = _setting(
        1.0, number(0, 60), "How long an origin that did not answer is not asked again.", unit="s"
    )
    stall_after: float = _setting(
        2.5, number(0.1, 60), "An origin that answers nobody for so long is taken as hanging.", unit="s"
    )
    token_lifetime: float = _setting(
        1800.0, number(60, 86_400), "Life of an app token that we mint.", unit="s"
    )
    token_leeway: float = _setting(
        60.0, number(0, 3600), "How long before its expiry a token is renewed.", unit="s"
    )
    install_proof: str = _setting(
        "platform",
        one_of("platform", "none"),
        "`none` trusts the first install without asking the platform; warned about outside dev.",
    )
    previous_secret_window: float = _setting(
        60.0, number(0, 3600), "How long a rotated secret stays good for webhooks.", unit="s"
    )
    organization_ttl: float = _setting(
        2.0, number(0, 60), "How long a change may take to be seen by other processes.", unit="s"
    )
    binding_ttl: float = _setting(
        3600.0, number(1, 86_400), "How long an organization's subdomain stays proven.", unit="s"
    )
    uninstall_grace: float = _setting(
        3600.0, number(0, 604_800), "Between the two refusals that prove an uninstall.", unit="s"
    )
    trust_enabled_disabled: bool = _setting(
        False, switch, "Refuse everybody of an organization that the platform called disabled."
    )
    webhook_require_exp: bool = _setting(
        True, switch, "Refuse webhook tokens that never expire; warned about outside dev."
    )
    webhook_max_life: float = _setting(
        3600.0, number(1, 86_400), "How far away a webhook token's expiry may be.", unit="s"
    )
    webhook_leeway: float = _setting(
        10.0, number(0, 300), "Clock difference allowed in webhook tokens.", unit="s"
    )
    max_body: int = _setting(
        1_048_576, whole(1024, 104_857_600), "Largest lifecycle or webhook body.", unit="bytes"
    )
    max_waiting_claims: int = _setting(10_000, whole(1, 10_000_000), "Unproven installs kept, in all.")
    max_claims_per_organization: int = _setting(
        8, whole(1, 1000), "Unproven installs kept for one organization."
    )
    claim_max_age: float = _setting(
        86_400.0, number(60, 2_592_000), "How long an unproven install is kept.", unit="s"
    )
    lifecycle_limit: str | None = _setting(
        None, text, "Rate limit of each lifecycle path by address, such as `30 per minute`; `[limiter]`."
    )
    metrics: bool = _setting(False, switch, "Count requests, verdicts and calls for Prometheus; `[metrics]`.")
    sweeper: bool = _setting(
        True,
        switch,
        "Ask the platform again from a thread of the process; else `flask orbro sweep`.",
    )


_FIELDS = {"ORBRO_" + item.name.upper(): item for item in fields(Config)}


def settings_table() -> list[tuple[str, Any, str, str]]:
    """``(key, default, unit, meaning)`` of every setting, for documentation."""
    return [(key, item.default, item.metadata["unit"], item.metadata["doc"]) for key, item in _FIELDS.items()]


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
    for key, item in _FIELDS.items():
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
    return config


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
    if isinstance(value, str) or _FIELDS[key].metadata["check"] is not text:
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
        fault = "is not acceptable" if metadata["secret"] else str(error)
        if metadata["secret"] and not isinstance(value, str):
            fault = f"must be text, not {type(value).__name__}; put it in quotes"
        raise ConfigurationError(f"{key} (from {where}) {fault}. {metadata['doc']}") from None


def _environment(environ: Mapping[str, str]) -> str:
    """``ORBRO_ENV``, ``SERVICE_ENV``, ``ENV`` of the process, else ``dev``."""
    for name in ("ORBRO_ENV", "SERVICE_ENV", "ENV"):
        value = environ.get(name)
        if value:
            where = "the environment; ORBRO_ENV goes before SERVICE_ENV and ENV"
            return str(_checked(name, value, where, _FIELDS["ORBRO_ENV"].metadata))
    return "dev"


def _missing(key: str, instance_file: Path) -> str:
    return (
        f"{key} is missing. It was looked for in the arguments of OrbroConnect, in app.config and in "
        f"{instance_file}. Run 'flask orbro init' to write that file, then put the value that "
        "the platform gave you there."
    )


def _check_scheme(config: Config) -> None:
    name = config.platform_host.partition(":")[0]
    loopback = name in ("localhost", "127.0.0.1") or name.endswith(".localhost")
    if config.platform_scheme == "http" and not loopback:
        raise ConfigurationError(
            f"ORBRO_PLATFORM_SCHEME is 'http', but {name} is not loopback: credentials would travel "
            "in clear. Use 'https', or a host under .localhost."
        )


def _refuse_unknown_keys(sources: list[tuple[str, dict[str, Any]]]) -> None:
    for where, values in sources:
        for key in values:
            if key.startswith("ORBRO_") and key not in _FIELDS:
                raise ConfigurationError(f"{key} (from {where}) is not a setting of Flask-Orbro.")
