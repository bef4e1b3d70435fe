"""An app with an inbox, over HTTP, and the platform that delivers to it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_orbro import OrbroConnect
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state
from flask_orbro.stores.delivery_record import DeliveryRecord
from flask_orbro.webhooks import Inbox

from ..conftest import bearer
from ..stores.conftest import _scratch as _scratch
from ..stores.conftest import database as database
from ..world import World

EVENT = "device:device_created"
EVENTS = "/webhook/events"


class InboxWorld(World):
    """:param handlers: registers handlers with the extension; called before ``init_app``."""

    def __init__(
        self, *args: Any, handlers: Callable[[OrbroConnect], Any] = lambda orbro: None, **options: Any
    ) -> None:
        orbro = options.pop("orbro", None) or OrbroConnect()
        handlers(orbro)
        self._numbers = itertools.count()
        self._ahead = 0.0
        usual = {"ORBRO_WORKER": "inline", "ORBRO_HANDLER_BACKOFF": 60.0}
        super().__init__(*args, orbro=orbro, **(usual | options))
        self.inbox._clock = self.inbox.worker.clock = lambda: time.time() + self._ahead

    def install(self, subdomain: str = "acme", **options: Any) -> None:
        client_id = get_state(self.app).config.client_id
        assert self.platform.install(self.url, subdomain, client_id=client_id, **options).ok

    @property
    def inbox(self) -> Inbox:
        return get_state(self.app).inbox

    @property
    def rows(self) -> list[DeliveryRecord]:
        """What is in the inbox, oldest first."""
        return self.inbox.store.find(limit=1000)[::-1]

    def send(
        self,
        event: str | None = EVENT,
        reading: Any = None,
        *,
        path: str = EVENTS,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> TestResponse:
        """Deliver; no two deliveries are equal unless their body and token are given."""
        payload = {"event_name": event, "data": reading, "number": next(self._numbers)}
        token = self.platform.webhook_token("acme") if token is None else token
        body = body or {"json": payload}
        return self.client.post(path, headers=bearer(token) | (headers or {}), **body)

    def sweep(self, after: float = 0) -> float | None:
        self._ahead += after
        return self.inbox.sweep()

    def wait_until(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.rows
            time.sleep(0.01)


@pytest.fixture
def make_inbox_world(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> Callable[..., InboxWorld]:
    return partial(InboxWorld, make_app, serving, simulator)
