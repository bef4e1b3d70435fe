"""The Flask app that stands in for the platform."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from .errors import FieldError, PlatformRefusal, SimulatorError, bad_request, not_found
from .faults import Fault
from .hosts import Hosts, is_loopback
from .models import Organization
from .platform import Platform

MAX_BODY = 4 * 1024 * 1024
_KEY = "orbro_simulator"


@dataclass(frozen=True)
class Runtime:
    """What one app of the simulator works with.

    :param stopping: set when the server stops, so that delays end at once.
    """

    platform: Platform
    hosts: Hosts
    stopping: threading.Event


def create_app(platform: Platform | None = None, base_name: str = "orbro.localhost") -> Flask:
    """Make the WSGI app, for a server of your own. It refuses clients that are not on loopback.

    The state is in this process: several worker processes would be several platforms.

    :param platform: the state; a new one by default.
    :param base_name: name of the platform's root; organizations live one label below.
    :returns: a Flask app.
    :raises FieldError: ``base_name`` is not a DNS name.
    """
    from .api import api
    from .backends import backends
    from .control import control

    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.extensions[_KEY] = Runtime(platform or Platform(), Hosts(base_name), threading.Event())
    app.before_request(_enter)
    app.after_request(_leave)
    app.register_error_handler(PlatformRefusal, _refused)
    app.register_error_handler(SimulatorError, _impossible)
    app.register_error_handler(HTTPException, _http_error)
    app.register_blueprint(api)
    app.register_blueprint(backends)
    app.register_blueprint(control)
    return app


def runtime(app: Flask | None = None) -> Runtime:
    """:returns: what the given app, or the one of this request, works with."""
    return cast(Runtime, (app or current_app).extensions[_KEY])


def here() -> Organization:
    """
    :returns: the organization whose host is asked.
    :raises PlatformRefusal: 404, this is not an organization's host.
    """
    organization = runtime().platform.find_organization(g.place.subdomain or "")
    if organization is None:
        raise not_found()
    return organization


def json_object() -> dict[str, Any]:
    """
    :returns: the body of this request.
    :raises PlatformRefusal: 400, it is not a JSON object.
    """
    try:
        body = json.loads(request.get_data(cache=False), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad_request("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise bad_request("The body is not a JSON object.")
    return body


def is_control(path: str) -> bool:
    """:returns: whether the path belongs to the control API, not to the imitated platform."""
    return path == "/" or path == "/simulator" or path.startswith("/simulator/")


def is_backend(path: str) -> bool:
    """:returns: whether the path belongs to a stand-in for another back end."""
    return path.startswith("/backends/")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _enter() -> Response | None:
    address = request.remote_addr
    if address and not is_loopback(address):
        raise PlatformRefusal(403, "NOT_LOCAL", "The simulator answers this machine only.")
    here = runtime()
    # The header itself, not request.host, which falls back on the address of the server.
    g.place = here.hosts.find(request.environ.get("HTTP_HOST", ""))
    if is_control(request.path):
        return None
    fault = here.platform.faults.match(request.path, g.place.subdomain)
    answer = None if fault is None else _apply(fault, here)
    if answer is not None:
        return answer
    if is_backend(request.path):
        known = g.place.kind == "loopback"
    elif g.place.kind == "organization":
        known = here.platform.find_organization(g.place.subdomain) is not None
    else:
        known = g.place.kind == "root"
    if not known:
        raise not_found("No organization lives at this host.")
    return None


def _apply(fault: Fault, here: Runtime) -> Response | None:
    if fault.delay:
        here.stopping.wait(fault.delay)
    if fault.drop:
        return _drop()
    if not fault.answers:
        return None
    status, body, kind = fault.status, fault.body, fault.content_type
    if fault.redirect is not None:
        status = status or 302
    status = status or 200
    if body is None and fault.redirect is None:
        body = {"error_code": "FAULT", "message": "A fault of the simulator."}
    text = body if isinstance(body, str) else json.dumps(body)
    kind = kind or ("text/html; charset=utf-8" if isinstance(body, str) else "application/json")
    response = _AsWritten(text, status, fault.headers, content_type=kind)
    if fault.redirect is not None:
        response.headers["Location"] = fault.redirect
    return response


class _AsWritten(Response):
    """An answer whose ``Location`` need not be one."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        location = self.headers.pop("Location", None)
        headers = super().get_wsgi_headers(environ)
        if location is not None:
            headers["Location"] = location
        return headers


def _drop() -> Response:
    g.dropped = True
    # Goes nowhere: the connection is shut. A client without one (Flask's own) sees it.
    return Response("dropped", 502, content_type="text/plain")


def _shut_connection() -> None:
    for name in ("werkzeug.socket", "gunicorn.socket"):
        connection = request.environ.get(name)
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _leave(response: Response) -> Response:
    if not is_control(request.path):
        runtime().platform.log(
            request.method,
            request.environ.get("HTTP_HOST", "")[:200],
            request.path[:200],
            0 if g.get("dropped") else response.status_code,
            has_authorization="HTTP_AUTHORIZATION" in request.environ,
        )
    if g.get("dropped"):
        _shut_connection()  # last, so that whoever notices finds the request in the log
    return response


def _error(status: int, code: str, message: str, **more: str) -> Response:
    response = jsonify(error_code=code, message=message, **more)
    response.status_code = status
    return response


def _refused(refusal: PlatformRefusal) -> Response:
    response = _error(refusal.status, refusal.code, refusal.message)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _impossible(error: SimulatorError) -> Response:
    if isinstance(error, FieldError):
        return _error(400, "BAD_REQUEST", str(error), field=error.field)
    return _error(409, "IMPOSSIBLE", str(error))


def _http_error(error: HTTPException) -> Response:
    code = error.name.upper().replace(" ", "_")
    return _error(error.code or 500, code, error.description or error.name)
