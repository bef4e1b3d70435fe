"""What the extension keeps for one app: one frozen object in ``app.extensions["orbro"]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, current_app

from .authenticator import Authenticator
from .client_info import ClientInfoDataStore
from .config import Config
from .connections import ConnectionRegistry
from .crypto import KeyRing
from .descriptor import Descriptor
from .errors import NotInitializedError
from .http.event_loop import LoopThread
from .http.pool import HttpPool
from .installs.erasure import Erasure
from .installs.inquiry import Inquiry
from .installs.lifecycle import Lifecycle
from .metrics import NoMetrics, PrometheusMetrics
from .models import Models
from .platform import Platform
from .stores.claims import ClaimStore
from .stores.organization_cache import OrganizationCache
from .stores.organizations import OrganizationStore
from .stores.presence import Presence
from .stores.rotation import Rotation
from .sweeper import Sweeper
from .webhooks import Inbox, WebhookVerifier

EXTENSION = "orbro"


@dataclass(frozen=True, kw_only=True)
class OrbroState:
    """Everything of one app; two apps share nothing."""

    config: Config
    descriptor: Descriptor
    models: Models = field(repr=False)
    http: HttpPool = field(repr=False)
    keys: KeyRing = field(repr=False)
    loop_thread: LoopThread = field(repr=False)
    organizations: OrganizationStore = field(repr=False)
    organization_cache: OrganizationCache = field(repr=False)
    claims: ClaimStore = field(repr=False)
    client_info: ClientInfoDataStore = field(repr=False)
    presence: Presence = field(repr=False)
    rotation: Rotation = field(repr=False)
    erasure: Erasure = field(repr=False)
    inquiry: Inquiry = field(repr=False)
    lifecycle: Lifecycle = field(repr=False)
    authenticator: Authenticator = field(repr=False)
    webhooks: WebhookVerifier = field(repr=False)
    platform: Platform = field(repr=False)
    connections: ConnectionRegistry = field(repr=False)
    #: Ask about everything that is due, erase what is past its retention; when the next thing is due.
    sweep: Callable[[], float | None] = field(repr=False)
    sweeper: Sweeper = field(repr=False)
    inbox: Inbox = field(repr=False)
    metrics: NoMetrics | PrometheusMetrics = field(repr=False)

    #: The ``OrbroConnect`` object, for as long as the app lives: a signal holds its ``on_logout`` weakly.
    extensions: list[object] = field(default_factory=list, repr=False)
    #: The restx APIs whose errors are problem documents, as :meth:`OrbroConnect.init_api` was told.
    apis: list[Any] = field(default_factory=list, repr=False)
    #: The inbox's Resources by path, and the namespaces that document them.
    inbox_resources: dict[str, Any] = field(default_factory=dict, repr=False)
    inbox_namespaces: list[Any] = field(default_factory=list, repr=False)

    def close(self) -> None:
        """Stop the threads, once what is under way is done, and close the connections."""
        self.sweeper.stop()
        self.inbox.close()
        self.http.close()
        self.connections.close()
        self.loop_thread.close()
        self.organization_cache.close()


def get_state(app: Flask | None = None) -> OrbroState:
    """The state of an app, by default of the current one.

    :raises NotInitializedError: where ``init_app`` was not called for it.
    """
    try:
        state = (app or current_app).extensions.get(EXTENSION)
    except RuntimeError:
        raise NotInitializedError(
            "Flask-Orbro works inside an app context. Use 'with app.app_context():', name the app where "
            "the call takes one, or use 'orbro.for_app(app)'."
        ) from None
    if not isinstance(state, OrbroState):
        raise NotInitializedError(
            "Flask-Orbro is not initialised for this app. Did you forget to call 'init_app'?"
        )
    return state
