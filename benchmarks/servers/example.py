"""The example app as it is, with one route that does nothing: what the others are compared with."""

from __future__ import annotations

import os

from flask import Flask

import example_app


def create_app() -> Flask:
    """The app; ``BENCHMARK_FOLDER`` is its instance folder."""
    app = example_app.create_app(instance_path=os.environ["BENCHMARK_FOLDER"])

    @app.get("/bare")
    def bare() -> dict[str, str]:
        return {"status": "ok"}

    return app
