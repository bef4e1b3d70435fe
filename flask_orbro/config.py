"""Every ``ORBRO_`` setting: its default, its unit and its check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .checks import (
    base_url,
    environment,
    host,
    keys,
    mapping,
    number,
    one_of,
    path_on_app,
    switch,
    text,
    whole,
)
from .protocol import HOSTS

INSTANCE_FILE = "application.cfg"


def _setting(
    default: Any, check: Callable[[Any], Any], doc: str, *, unit: str = "", secret: bool = False
) -> Any:
    """One setting; :func:`settings_table` and :mod:`.settings` read its metadata."""
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
    env: str = _setting("dev", environment(*HOSTS), "`dev`, `stg` or `prod`; decides the host.")
    platform_host: str = _setting(None, host, "Overrides the environment's host; a port is allowed.")
    platform_scheme: str = _setting(
        "https", one_of("https", "http"), "`http` for `localhost` and `*.localhost` alone."
    )
    encryption_keys: tuple[bytes, ...] | None = _setting(
        None,
        keys,
        "Keys that encrypt secrets at rest, newest first: 32 bytes in base64 each, a list or "
        "with commas between them. Required outside `dev`.",
        secret=True,
    )
    descriptor: str = _setting(
        "connect.json", text, "The app descriptor; a relative path starts at the app's root."
    )
    descriptor_url: str = _setting(
        "/connect.json", path_on_app, "The path at which the descriptor is served."
    )
    base_url: str | None = _setting(
        None, base_url, "The app's public URL, in place of the descriptor's `baseUrl`."
    )
    redis_url: str | None = _setting(
        None, text, "Redis for tokens and verdicts; without it, or with `memory://`: memory.", secret=True
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
        4, whole(1, 20), "How often an outbound call is sent at most, where it may be repeated."
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
        2.0,
        number(0, 60),
        "How long a change may take to be seen by other processes; at most half of the window.",
        unit="s",
    )
    binding_ttl: float = _setting(
        3600.0, number(1, 86_400), "How long an organization's subdomain stays proven.", unit="s"
    )
    uninstall_grace: float = _setting(
        3600.0, number(0, 604_800), "Between the two refusals that prove an uninstall.", unit="s"
    )
    retention_days: float = _setting(
        30.0,
        number(0, 36_500),
        "How long what is kept about an uninstalled organization is kept; its secrets go at once. While an "
        "install of it waits, up to `ORBRO_CLAIM_MAX_AGE` longer.",
        unit="d",
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
    webhook_event_key: str = _setting(
        "event_name", text, "The member of a payload that names its event; `meta.event` looks inside `meta`."
    )
    webhook_duplicate_window: float = _setting(
        86_400.0, number(0, 31_536_000), "How long an equal delivery is a duplicate; 0: never.", unit="s"
    )
    worker: str = _setting(
        "thread", one_of("thread", "inline", "celery"), "Who handles deliveries; `inline` is for tests."
    )
    worker_threads: int = _setting(
        8, whole(0, 256), "Handlers at once, per process; 0 leaves them to `flask orbro worker`."
    )
    worker_patience: float = _setting(
        60.0,
        number(1, 86_400),
        "How long a delivery waits for a worker before another is told of it.",
        unit="s",
    )
    worker_drain: float = _setting(
        10.0, number(0, 3600), "To finish what is being handled when a process ends.", unit="s"
    )
    handler_attempts: int = _setting(10, whole(1, 1000), "How often a handler is run at most.")
    handler_time_limit: float = _setting(60.0, number(0.05, 86_400), "How long a handler may take.", unit="s")
    handler_backoff: float = _setting(
        2.0, number(0, 3600), "Before the second attempt of a handler; doubled for each.", unit="s"
    )
    handler_backoff_max: float = _setting(
        3600.0, number(0, 604_800), "The longest wait between two attempts of a handler.", unit="s"
    )
    inbox_max_age: float = _setting(
        2_592_000.0, number(60, 315_360_000), "How long a handled delivery is kept.", unit="s"
    )
    inbox_max_rows: int = _setting(
        1_000_000, whole(1, 1_000_000_000), "Deliveries kept, besides unhandled ones."
    )
    celery_broker_url: str | None = _setting(
        None, text, "Redis or RabbitMQ for `orbro.celery_app`; `[celery]`.", secret=True
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
    connections: Mapping[str, Any] = _setting(None, mapping, "Other back ends by name; see *Connections*.")
    metrics: bool = _setting(False, switch, "Count requests, verdicts and calls for Prometheus; `[metrics]`.")
    sweeper: bool = _setting(
        True,
        switch,
        "Ask the platform again, and sweep the inbox, from threads of the process; else `flask orbro sweep`.",
    )


#: The fields by key.
SETTINGS = {"ORBRO_" + item.name.upper(): item for item in fields(Config)}


def settings_table() -> list[tuple[str, Any, str, str]]:
    """``(key, default, unit, meaning)`` of every setting, for documentation."""
    return [
        (key, item.default, item.metadata["unit"], item.metadata["doc"]) for key, item in SETTINGS.items()
    ]
