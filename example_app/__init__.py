"""A small Connect app to copy from: one folder for each part, put together in :func:`create_app`."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_orbro import app_erased

from . import backends, health, hello, platform, posts, sessions, users, webhooks
from .config import ConfigArgument, load_config, whole_number
from .database import init_database, upgrade_database
from .documentation import make_api
from .errors import init_errors
from .extensions import cache, orbro
from .limits import init_limits
from .posts.listing import init_listing
from .sessions.tokens import init_tokens
from .users.passwords import init_passwords


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
    proxies = whole_number(app, "TRUSTED_PROXIES", 0, 10)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    orbro.init_app(app)
    app_erased.connect(webhooks.forget_changes, sender=app)
    cache.init_app(app)
    init_database(app)
    init_tokens(app)
    init_passwords(app)
    init_limits(app)
    init_listing(app)
    init_errors(app)
    api = make_api(app)
    for part in (hello, users, sessions, posts, platform, webhooks, health):
        api.add_namespace(part.namespace)
    if app.config["ORBRO_CONNECTIONS"]:
        api.add_namespace(backends.namespace)
        api.add_namespace(backends.graph_namespace)
    orbro.init_api(api)
    if app.config["MIGRATE_ON_START"]:
        upgrade_database(app)
    return app
