"""An app for servers with several processes, configured by Flask's environment variables."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, jsonify
from flask_sqlalchemy import SQLAlchemy

from flask_orbro import OrbroConnect, current_delivery, webhook_required


def create_app() -> Flask:
    """``STORM_FOLDER`` holds the descriptor; the tables are there already."""
    folder = os.environ["STORM_FOLDER"]
    app = Flask(__name__, root_path=folder, instance_path=folder)
    app.config.from_prefixed_env()
    db = SQLAlchemy()
    OrbroConnect(app, db=db)
    db.init_app(app)

    @app.post("/webhook/device")
    @webhook_required
    def device() -> Any:
        return jsonify(current_delivery.payload)

    return app
