"""The extension under plain views that do as little as those of the servers beside it."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from flask_orbro import (
    OrbroConnect,
    current_delivery,
    current_identity,
    user_required,
    webhook_required,
)


def create_app() -> Flask:
    """The app; ``BENCHMARK_FOLDER`` holds its descriptor and becomes its instance folder."""
    folder = os.environ["BENCHMARK_FOLDER"]
    organization_id = os.environ["BENCHMARK_ORGANIZATION"]
    app = Flask(__name__, root_path=folder, instance_path=folder)
    app.config.from_prefixed_env()
    orbro = OrbroConnect(app)

    @app.get("/bare")
    def bare() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/webhook/device")
    @webhook_required
    def webhook() -> dict[str, Any]:
        return {"event": current_delivery.payload["event_name"]}

    @app.get("/platform/me")
    @user_required
    def me() -> dict[str, str]:
        return {"uuid": current_identity.uuid, "role": current_identity.role}

    @app.get("/outbound")
    def outbound() -> Any:
        # No caller is judged: neither of the servers beside this one does so on its outbound route.
        return orbro.client_for(organization_id).get("/api/v1/users").raise_for_status().json()

    @app.get("/outbound-async")
    async def outbound_async() -> Any:
        answer = await orbro.async_client_for(organization_id).get("/api/v1/users")
        return answer.raise_for_status().json()

    return app
