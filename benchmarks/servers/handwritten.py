"""What a Flask developer would write by hand: a local JWT check, and a pooled client with a ready token."""

from __future__ import annotations

import os
import ssl
from typing import Any

import httpx2
from flask import Flask
from flask_jwt_extended import JWTManager, get_jwt, jwt_required


def create_app() -> Flask:
    """The app; its client has the same limits and the same certificates as the extension's."""
    app = Flask(__name__)
    app.config["JWT_SECRET_KEY"] = os.environ["BENCHMARK_JWT_SECRET"]
    JWTManager(app)
    options: dict[str, Any] = {
        "verify": ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]),
        "limits": httpx2.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=30),
        "timeout": 30,
        "headers": {"User-Agent": "meta-platform-connect"},
    }
    client = httpx2.Client(**options)
    # The address: the system's resolver need not know names under .localhost.
    url = f"https://127.0.0.1:{os.environ['BENCHMARK_PLATFORM_PORT']}/api/v1/users"
    headers = {"Authorization": f"Bearer {os.environ['BENCHMARK_APP_TOKEN']}"}

    @app.get("/bare")
    def bare() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/platform/me")
    @jwt_required()  # type: ignore[untyped-decorator]
    def me() -> dict[str, Any]:
        claims = get_jwt()
        return {"uuid": claims["sub"], "role": claims["role"]}

    @app.get("/outbound")
    def outbound() -> Any:
        return client.get(url, headers=headers).raise_for_status().json()

    @app.get("/outbound-async")
    async def outbound_async() -> Any:
        # Flask runs each request in an event loop of its own: no client lives longer.
        async with httpx2.AsyncClient(**options) as brief:
            answer = await brief.get(url, headers=headers)
        return answer.raise_for_status().json()

    return app
