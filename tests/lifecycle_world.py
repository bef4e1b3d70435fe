"""An app over HTTP and the platform it belongs to, with a clock for the lifecycle that a test moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from flask import Flask, jsonify

from flask_orbro import (
    OrbroConnect,
    app_disabled,
    app_enabled,
    app_installed,
    app_uninstalled,
    current_delivery,
    current_identity,
    user_required,
    webhook_required,
)
from flask_orbro.installation import Organization
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import OrbroState, get_state

from .conftest import bearer

EVENT = "device:device_updated"
FORGED = "f" * 40


class Clock:
    """The lifecycle's clock, which a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class World:
    """An app over HTTP, and the platform it belongs to."""

    def __init__(self, app: Flask, url: str, simulator: SimulatorServer) -> None:
        self.app, self.url, self.simulator = app, url, simulator
        self.platform = simulator.platform
        self.clock = Clock()
        self.state.lifecycle._clock = self.clock
        self.state.inquiry._clock = self.clock
        self.state.erasure._clock = self.clock
        self.signals: list[tuple[str, str]] = []
        self.receivers: list[Any] = []

    @property
    def state(self) -> OrbroState:
        return get_state(self.app)

    @property
    def organization_id(self) -> str:
        return self.platform.organization("acme").id

    @property
    def stored(self) -> Organization | None:
        return self.state.organizations.get(self.organization_id)

    @property
    def waiting(self) -> int:
        return self.state.claims.count()

    def install(self, **options: Any) -> Any:
        options = {"client_id": self.state.config.client_id} | options
        return self.platform.install(self.url, options.pop("subdomain", "acme"), **options)

    def post(self, path: str, **body: Any) -> httpx2.Response:
        with httpx2.Client() as client:
            return client.post(self.url + path, json=body, timeout=10)

    def forge(self, **body: Any) -> httpx2.Response:
        """An ``installed`` call of somebody else's."""
        defaults = {"organization_id": self.organization_id, "shared_secret": FORGED, "subdomain": "acme"}
        return self.post("/installed", **(defaults | body))

    def sweep(self, after: float = 0) -> float | None:
        self.clock.ahead += after
        return self.state.inquiry.sweep()

    def me(self, subdomain: str = "acme") -> int:
        """The status that a genuine user of the organization gets."""
        headers = bearer(self.platform.user_token(subdomain)) | {"sub": subdomain}
        with httpx2.Client() as client:
            return client.get(self.url + "/me", headers=headers).status_code

    def webhook(self, **options: Any) -> int:
        return self.platform.webhook("acme", EVENT, {"a": 1}, **options).status


MakeWorld = Callable[..., World]


@pytest.fixture(name="make_world")
def make_world_fixture(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> Iterator[MakeWorld]:
    def make(orbro: OrbroConnect | None = None, **config: Any) -> World:
        app = make_app(orbro, **config)

        @app.get("/me")
        @user_required
        def me() -> Any:
            return jsonify(uuid=current_identity.uuid)

        @app.post("/webhook/device")
        @webhook_required
        def device() -> Any:
            return jsonify(current_delivery.payload)

        world = World(app, serving(app), simulator)
        for signal in (app_installed, app_uninstalled, app_enabled, app_disabled):

            def receive(_app: Flask, organization: Any, name: str = signal.name) -> None:
                world.signals.append((name, organization.organization_id))

            # A signal keeps its receivers weakly.
            stack.enter_context(signal.connected_to(receive, sender=app))
            world.receivers.append(receive)
        return world

    with ExitStack() as stack:
        yield make


@pytest.fixture(name="world")
def world_fixture(make_world: MakeWorld) -> World:
    return make_world()
