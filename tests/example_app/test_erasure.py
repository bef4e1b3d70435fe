"""What is kept about an organization goes with it: the library's part, and the example app's own."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask
from sqlalchemy import func, select

from example_app.extensions import db
from example_app.webhooks.model import DeviceChange
from flask_orbro.cli import orbro
from flask_orbro.simulator import SimulatorServer

from ..conftest import CLIENT_ID

EVENT, DATA = "device:device_updated", {"profile_id": "Fixed.UWB.Anchor"}


def test_deliveries_and_what_came_of_them_are_erased(
    make_example: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> None:
    app = make_example()
    url, platform = serving(app), simulator.platform

    def changes(subdomain: str) -> int:
        organization_id = platform.organization(subdomain).id
        query = select(func.count()).select_from(DeviceChange).filter_by(organization_id=organization_id)
        with app.app_context():
            return int(db.session.scalar(query) or 0)

    for subdomain in ("acme", "beta"):
        assert platform.install(url, subdomain, client_id=CLIENT_ID).status == 200
        assert platform.webhook(subdomain, EVENT, DATA, path="/webhook/events").status == 202
    until = time.monotonic() + 30
    while time.monotonic() < until and not (changes("acme") and changes("beta")):
        time.sleep(0.02)
    assert (changes("acme"), changes("beta")) == (1, 1)
    result = app.test_cli_runner().invoke(orbro, ["erase", platform.organization("acme").id])
    assert "organization: 1 erased" in result.output
    assert "deliveries: 1 erased" in result.output
    assert (changes("acme"), changes("beta")) == (0, 1)
