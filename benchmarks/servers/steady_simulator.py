"""The simulator with one installation that it knows again after a restart, as the platform itself does."""

from __future__ import annotations

import os
import threading

from flask_orbro.simulator import Platform, SimulatorServer
from flask_orbro.simulator.models import Installation

if __name__ == "__main__":
    platform = Platform()
    organization = platform.organization(os.environ["BENCHMARK_SUBDOMAIN"])
    row = Installation(
        id="benchmark",
        app_url="http://127.0.0.1",
        organization_id=organization.id,
        installed_user_id=str(platform.user(organization)["id"]),
        shared_secret=os.environ["BENCHMARK_SHARED_SECRET"],
    )
    platform.put_installation(organization.subdomain, row)
    with SimulatorServer(int(os.environ["BENCHMARK_PLATFORM_PORT"]), platform=platform):
        threading.Event().wait()
