"""A small Connect app to copy from: one folder for each part, put together in :func:`create_app`."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from flask_restx import Api
from werkzeug.exceptions import HTTPException

from flask_orbro import problem_response

from .config import ConfigArgument, load_config
from .database import init_database, upgrade_database
from .extensions import orbro
from .health import health
from .platform import platform
from .webhooks import webhooks


def create_app(config: ConfigArgument = None, *, instance_path: str | Path | None = None) -> Flask:
    """The app, ready to serve.

    :param config: what overrides all other configuration: a mapping, an object, or the name of an
        environment (``development``, ``testing``, ``production``). By default ``ORBRO_ENV`` chooses the
        environment: ``dev`` is development, ``stg`` and ``prod`` are production.
    :param instance_path: an absolute path; by default the folder ``instance`` beside the package.
    :raises ConfigurationError: saying what is missing or wrong, and what to do about it.
    """
    app = Flask(__name__, instance_path=None if instance_path is None else str(instance_path))
    load_config(app, config)
    orbro.init_app(app)
    init_database(app)
    app.register_error_handler(HTTPException, problem_response)
    api = Api(app, title="Flask-Orbro example", version="1.0", doc="/docs")
    orbro.init_api(api)
    for namespace in (platform, webhooks, health):
        api.add_namespace(namespace)
    if app.config["MIGRATE_ON_START"]:
        upgrade_database(app)
    return app
