"""What the Swagger document says beside the routes."""

from __future__ import annotations

from flask import Flask
from flask_restx import Api

AUTHORIZATIONS = {
    "bearer": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "This app's own token, from `POST /user/auth`. Type `Bearer `, then the "
        "`access_token`; for `POST /user/refresh`, the `refresh_token`.",
    },
    "basic": {
        "type": "basic",
        "description": "An account of this app, its `user_id` and password. For `POST /user/auth` alone.",
    },
}
_ABOUT = """
Register with `POST /users`, log in with `POST /user/auth`, then press **Authorize** and paste the
`access_token`. Routes of the platform take the platform's own tokens.
"""
_OF_SIMULATOR = """
The platform is imitated here: [tokens to paste]({url}).
"""


def make_api(app: Flask) -> Api:
    """Swagger UI is at ``/docs``, its document at ``/swagger.json``."""
    return Api(
        app,
        title="Flask-Orbro example",
        version="1.0",
        description=_about(app),
        doc="/docs",
        authorizations=AUTHORIZATIONS,
    )


def _about(app: Flask) -> str:
    # Only a platform on this machine may be called over plain HTTP: the simulator.
    if app.config.get("ORBRO_PLATFORM_SCHEME") != "http":
        return _ABOUT
    return _ABOUT + _OF_SIMULATOR.format(url=f"http://{app.config['ORBRO_PLATFORM_HOST']}/simulator/tokens")
