"""Putting the parts of one app together."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Any

from blinker import NamedSignal
from flask import Flask, has_request_context

from . import settings
from .announce import announce
from .authenticator import Authenticator
from .client_info import ClientInfoDataStore
from .config import Config
from .connections import ConnectionDefinition, ConnectionRegistry, Sources, Surroundings, read_definitions
from .context import callers_organization_id, callers_token
from .crypto import KeyedHash, derive_key
from .descriptor import read_descriptor
from .handling import make_inbox
from .http.event_loop import LoopThread, loops_are_brief
from .http.pool import HttpPool
from .http.server_clock import ServerClock
from .installation import Organization
from .installs.erasure import Erasure
from .installs.inquiry import Inquiry
from .installs.lifecycle import Lifecycle
from .installs.proof import Prover
from .keys import open_key_ring
from .metrics import make_metrics
from .own_tokens import is_own_token
from .platform import AppTokens, Platform
from .signals import app_uninstalled
from .state import OrbroState
from .storage import open_cache, open_database
from .stores.cache import SealedCache
from .stores.claims import ClaimStore
from .stores.organization_cache import OrganizationCache
from .stores.organizations import OrganizationStore
from .stores.presence import Presence
from .stores.records import Records
from .stores.rotation import Rotation
from .stores.verdicts import VerdictStore
from .sweeper import Sweeper, one_after_another
from .webhooks import WebhookVerifier

#: Where flask-jwt-extended keeps its manager.
JWT_MANAGER = "flask-jwt-extended"


def assemble(
    app: Flask, config: Config, *, database: Mapping[str, Any], redis: Any, celery_app: Any
) -> OrbroState:
    """Make every part of one app and connect them. Runs no SQL and asks nobody.

    :param database: ``db``, ``db_session_maker`` and ``client_info_model`` of the extension.
    """
    clock = time.time
    platform_clock = ServerClock(clock)
    metrics = make_metrics(config.metrics)
    sessions, models = open_database(app, config.client_id, **database)
    # A Redis that hangs leaves a call time for the platform.
    cache = open_cache(redis, config.redis_url, patience=config.call_budget / 2)
    http = HttpPool(
        size=config.pool_size,
        connect_timeout=config.connect_timeout,
        request_timeout=config.request_timeout,
    )
    keys = open_key_ring(config, app.instance_path)
    records = Records(keys)
    # As long as a question takes at most, with the wait for its turn.
    lease = 3 * config.proof_timeout
    organizations = OrganizationStore(sessions, models, records, clock, lease=lease)
    claims = ClaimStore(
        sessions,
        models,
        records,
        in_all=config.max_waiting_claims,
        per_organization=config.max_claims_per_organization,
        max_age=config.claim_max_age,
        lease=lease,
    )
    tokens = AppTokens(
        config, SealedCache(cache, config.client_secret, "app-token", clock), platform_clock, metrics.token
    )

    def wake() -> None:
        sweeper.wake()

    def tell(signal: NamedSignal, organization: Organization) -> bool:
        if signal is app_uninstalled:
            tokens.store.delete(organization.organization_id)
        return announce(app, signal, organization=organization.info)

    # What is kept is let go after twice that: a secret that another process replaces, within its window.
    ttl = min(config.organization_ttl, config.previous_secret_window / 2)
    stores: dict[str, Any] = {"organizations": organizations, "claims": claims}
    told = stores | {"config": config, "clock": clock, "announce": tell, "asks_later": wake}
    inquiry = Inquiry(**told, prover=Prover(config, http, platform_clock, metrics))
    lifecycle = Lifecycle(
        **told, inquiry=inquiry, digest=KeyedHash(derive_key(config.client_secret, "claim"))
    )
    erasure = Erasure(
        **stores,
        also={"app tokens": tokens.store.erase, "deliveries": lambda who: inbox.store.erase(who)},
        retention=config.retention_days * 86_400,
        patience=config.claim_max_age,
        clock=clock,
        announce=tell,
    )
    client_info = ClientInfoDataStore(
        **stores,
        erasure=erasure,
        records=records,
        models=models,
        claim_of=lifecycle.claim,
        asks_later=wake,
    )
    sweep = one_after_another(inquiry.sweep, erasure.sweep)
    sweeper = Sweeper(sweep, clock, enabled=config.sweeper)
    organization_cache = OrganizationCache(organizations, ttl=ttl)
    shared: dict[str, Any] = {
        **stores,
        "config": config,
        "organization_cache": organization_cache,
        "inquiry": inquiry,
    }
    verdicts = VerdictStore(
        SealedCache(cache, config.client_secret, "verdict", clock),
        ttl=config.verdict_ttl,
        negative_ttl=config.verdict_negative_ttl,
        fault_ttl=config.outage_memory,
        clock=clock,
    )

    def own_token(token: str) -> bool:
        return is_own_token(token, app.config, app.extensions.get(JWT_MANAGER))

    def stays_here(token: str) -> bool:
        of_open_api = compare_digest(token.encode(), (config.open_api_token or "").encode())
        return of_open_api or own_token(token)

    loop_thread = LoopThread()

    def home() -> LoopThread | None:
        # The event loop of an async view, and of a handler, ends with it.
        return loop_thread if has_request_context() or loops_are_brief() else None

    platform = Platform(
        **shared, http=http, tokens=tokens, metrics=metrics, platform_clock=platform_clock, home=home
    )
    around = Surroundings(
        cache=cache,
        secret=config.client_secret,
        metrics=metrics,
        callers_token=lambda: callers_token(stays_here),
        home=home,
        clock=clock,
    )
    inbox = make_inbox(
        app,
        config,
        db=database["db"],
        celery_app=celery_app,
        sessions=sessions,
        models=models,
        organizations=organization_cache,
        sweep=sweep,
        clock=clock,
    )
    state = OrbroState(
        config=config,
        descriptor=read_descriptor(_descriptor_path(app, config), config.base_url),
        models=models,
        http=http,
        loop_thread=loop_thread,
        **stores,
        organization_cache=organization_cache,
        keys=keys,
        client_info=client_info,
        presence=Presence(organizations, clock),
        rotation=Rotation(sessions, models, keys),
        erasure=erasure,
        inquiry=inquiry,
        lifecycle=lifecycle,
        authenticator=Authenticator(
            **shared,
            http=http,
            verdicts=verdicts,
            metrics=metrics,
            own_token=own_token,
        ),
        webhooks=WebhookVerifier(**shared, clock=platform_clock),
        platform=platform,
        connections=_make_connections(app, config, around, platform),
        sweep=sweep,
        sweeper=sweeper,
        inbox=inbox,
        metrics=metrics,
    )
    _close_at_exit(state)
    return state


def _close_at_exit(state: OrbroState) -> None:
    """Close what is open at exit, or where the app is gone before."""
    pools = [state.http, *(parts.calling.http for parts in state.connections.parts.values())]
    # None of these knows the state, so none keeps it alive.
    for close in (*(pool.close for pool in pools), state.loop_thread.close):
        weakref.finalize(state, close)


def _make_connections(
    app: Flask, config: Config, around: Surroundings, platform: Platform
) -> ConnectionRegistry:
    definitions: Mapping[str, ConnectionDefinition] = {}
    if config.connections:
        sources = Sources(config=settings.everything(app.config, app.instance_path))
        definitions = read_definitions(config.connections, sources, path="ORBRO_CONNECTIONS")
    return ConnectionRegistry(
        definitions,
        around,
        platform=lambda who: platform.client_for(who or callers_organization_id()),
        async_platform=lambda who: platform.async_client_for(who or callers_organization_id()),
    )


def _descriptor_path(app: Flask, config: Config) -> Path:
    """A relative path starts at the app's root, and where nothing is there, at the working directory."""
    beside_app = Path(app.root_path) / config.descriptor
    return beside_app if beside_app.exists() else Path(config.descriptor).absolute()
