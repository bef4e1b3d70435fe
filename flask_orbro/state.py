"""What the extension keeps for one app: one frozen object in ``app.extensions["orbro"]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import Flask, current_app

from .authenticator import Authenticator
from .config import Config
from .descriptor import Descriptor
from .errors import NotInitializedError
from .http import HttpPool
from .inquiry import Inquiry
from .lifecycle import Lifecycle
from .metrics import NoMetrics, PrometheusMetrics
from .models import Models
from .platform import Platform
from .stores.claims import ClaimStore
from .stores.organizations import OrganizationStore
from .sweeper import Sweeper
from .webhooks import WebhookVerifier

EXTENSION = "orbro"


@dataclass(frozen=True, kw_only=True)
class OrbroState:
    """Everything of one app; two apps share nothing."""

    config: Config
    descriptor: Descriptor
    models: Models = field(repr=False)
    http: HttpPool = field(repr=False)
    organizations: OrganizationStore = field(repr=False)
    claims: ClaimStore = field(repr=False)
    inquiry: Inquiry = field(repr=False)
    lifecycle: Lifecycle = field(repr=False)
    authenticator: Authenticator = field(repr=False)
    webhooks: WebhookVerifier = field(repr=False)
    platform: Platform = field(repr=False)
    sweeper: Sweeper = field(repr=False)
    metrics: NoMetrics | PrometheusMetrics = field(repr=False)

    #: The restx APIs whose errors are problem documents, as :meth:`OrbroConnect.init_api` was told.
    apis: list[Any] = field(default_factory=list, repr=False)

    def close(self) -> None:
        """Stop the thread and close the connections."""
        self.sweeper.stop()
        self.http.close()


def get_state(app: Flask | None = None) -> OrbroState:
    """The state of an app, by default of the current one.

    :raises NotInitializedError: where ``init_app`` was not called for it.
    """
    if app is None:
        if not current_app:
            raise NotInitializedError(
                "Flask-Orbro works inside an app context. Use 'with app.app_context():', or name the "
                "app where the call takes one."
            )
        app = current_app
    state = app.extensions.get(EXTENSION)
    if not isinstance(state, OrbroState):
        raise NotInitializedError(
            "Flask-Orbro is not initialised for this app. Did you forget to call 'init_app'?"
        )
    return state
