"""A webhook as a Flask developer would take it by hand: PyJWT, and the secrets in a dict."""

from __future__ import annotations

import os
from typing import Any

import jwt
from flask import Flask, abort, request


def create_app() -> Flask:
    """The app; it knows one organization."""
    app = Flask(__name__)
    secrets = {os.environ["BENCHMARK_ORGANIZATION"]: os.environ["BENCHMARK_SECRET"]}

    @app.get("/bare")
    def bare() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/webhook/device")
    def webhook() -> dict[str, Any]:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            named = jwt.decode(token, options={"verify_signature": False})
            secret = secrets[named["sub"].removeprefix("organizationId:")]
            claims = jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp"]})
        except (jwt.InvalidTokenError, KeyError):
            abort(401)
        if claims.get("issued_by") != "meta-platform-webhook":
            abort(401)
        return {"event": request.get_json()["event_name"]}

    return app
