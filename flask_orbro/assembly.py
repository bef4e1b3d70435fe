"""Putting the parts of one app together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blinker import NamedSignal
from flask import Flask

from .authenticator import Authenticator
from .config import Config
from .crypto import KeyedHash, derive_key
from .descriptor import read_descriptor
from .http import HttpPool
from .inquiry import Inquiry
from .installation import Organization
from .lifecycle import Lifecycle
from .logs import get_logger
from .metrics import make_metrics
from .own_tokens import is_own_token
from .platform import AppTokens, Platform
from .proof import Prover
from .server_clock import ServerClock
from .state import OrbroState
from .storage import open_cache, open_database
from .stores.cache import SealedCache
from .stores.claims import ClaimStore
from .stores.organization_cache import OrganizationCache
from .stores.organizations import OrganizationStore
from .stores.verdicts import VerdictStore
from .sweeper import Sweeper
from .webhooks import WebhookVerifier

logger = get_logger(__name__)

#: Where flask-jwt-extended keeps its manager.
JWT_MANAGER = "flask-jwt-extended"


def assemble(app: Flask, config: Config, *, database: Mapping[str, Any], redis: Any) -> OrbroState:
    """Make every part of one app and connect them. Runs no SQL and asks nobody.

    :param database: ``db``, ``db_session_maker`` and ``client_info_model`` of the extension.
    """
    clock = time.time
    platform_clock = ServerClock(clock)
    sessions, models = open_database(app, **database)
    cache = open_cache(redis, config.redis_url)
    http = HttpPool(
        size=config.pool_size,
        connect_timeout=config.connect_timeout,
        request_timeout=config.request_timeout,
    )
    organizations = OrganizationStore(sessions, models)
    claims = ClaimStore(
        sessions,
        models,
        in_all=config.max_waiting_claims,
        per_organization=config.max_claims_per_organization,
        max_age=config.claim_max_age,
    )

    def wake() -> None:
        sweeper.wake()

    told: dict[str, Any] = {
        "config": config,
        "organizations": organizations,
        "claims": claims,
        "clock": clock,
        "announce": lambda signal, organization: _announce(app, signal, organization),
        "asks_later": wake,
    }
    inquiry = Inquiry(**told, prover=Prover(config, http, platform_clock))
    lifecycle = Lifecycle(
        **told, inquiry=inquiry, digest=KeyedHash(derive_key(config.client_secret, "claim"))
    )
    metrics = make_metrics(config.metrics)
    sweeper = Sweeper(inquiry.sweep, clock, enabled=config.sweeper)
    shared: dict[str, Any] = {
        "config": config,
        "organizations": organizations,
        "organization_cache": OrganizationCache(organizations, ttl=config.organization_ttl),
        "claims": claims,
        "inquiry": inquiry,
    }
    verdicts = VerdictStore(
        SealedCache(cache, config.client_secret, "verdict", clock),
        ttl=config.verdict_ttl,
        negative_ttl=config.verdict_negative_ttl,
        fault_ttl=config.outage_memory,
        clock=clock,
    )
    tokens = AppTokens(config, SealedCache(cache, config.client_secret, "token", clock), platform_clock)
    return OrbroState(
        config=config,
        descriptor=read_descriptor(_descriptor_path(app, config)),
        models=models,
        http=http,
        organizations=organizations,
        claims=claims,
        inquiry=inquiry,
        lifecycle=lifecycle,
        authenticator=Authenticator(
            **shared,
            clock=clock,
            http=http,
            verdicts=verdicts,
            metrics=metrics,
            own_token=lambda token: is_own_token(token, app.config, app.extensions.get(JWT_MANAGER)),
        ),
        webhooks=WebhookVerifier(**shared, clock=platform_clock),
        platform=Platform(**shared, http=http, tokens=tokens, metrics=metrics, platform_clock=platform_clock),
        sweeper=sweeper,
        metrics=metrics,
    )


def _descriptor_path(app: Flask, config: Config) -> Path:
    """A relative path starts at the app's root, and where nothing is there, at the working directory."""
    beside_app = Path(app.root_path) / config.descriptor
    return beside_app if beside_app.exists() else Path(config.descriptor).absolute()


def _announce(app: Flask, signal: NamedSignal, organization: Organization) -> None:
    """Send a signal after commit; a receiver that raises is logged and loses nothing."""
    for receiver in signal.receivers_for(app):
        try:
            with app.app_context():
                receiver(app, organization=organization.info)
        except Exception:
            logger.exception("A receiver of %s failed.", signal.name)
