"""The control API, below ``/simulator``: what drives the imitation over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request

from .app import json_object, runtime
from .backends import entra_token
from .errors import AppCallError, FieldError, PlatformRefusal, SimulatorError
from .models import Outcome, organization_label
from .page import tokens_page
from .tokens import PLATFORM_TOKEN_LIFE, WEBHOOK_TOKEN_LIFE

control = Blueprint("control", __name__)

_OF_WEBHOOKS = ("organization", "app_url", "client_id", "event", "data", "path")
_MAX_LIFE = 10 * 365 * 86400.0
_TYPES: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    float: "a number",
    int: "a number",
    list: "a list",
}


class Fields:
    """Reads the JSON body of a control request and says which field is wrong."""

    def __init__(self) -> None:
        self._body = json_object()

    def only(self, *names: str) -> None:
        """:raises FieldError: there are fields of other names: a misspelt option is no default."""
        for name in self._body:
            if name not in names:
                raise FieldError(name, f"is not known here; known are {', '.join(sorted(names))}")

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """:returns: the field, or ``default`` where it is missing or null."""
        value = self._body.get(name)
        if value is None:
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = _float(name, value)
        if isinstance(value, str) and not _encodable(value):
            raise FieldError(name, "has lone surrogates")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise FieldError(name, f"must be {_TYPES.get(kind, 'an object')}")
        return value

    def raw(self, name: str) -> Any:
        """:returns: the field, of whatever type, or ``None``."""
        return self._body.get(name)

    def organization(self) -> str:
        """:returns: the field ``organization``, which is needed."""
        return organization_label(self.needed("organization"))

    def needed(self, name: str) -> str:
        """:returns: a string that must be there."""
        value = self.get(name, str)
        if not value:
            raise FieldError(name, "is needed")
        return str(value)

    def life(self, default: float) -> float:
        """:returns: the field ``expires_in`` in seconds."""
        value = float(self.get("expires_in", float, default))
        if not abs(value) <= _MAX_LIFE:
            raise FieldError("expires_in", f"must be at most {_MAX_LIFE:.0f} seconds")
        return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise FieldError(name, "is too large") from None


@control.before_request
def _guard() -> None:
    # A web page can send requests here, and by DNS rebinding under a name of its own.
    if g.place.kind not in ("loopback", "root"):
        raise PlatformRefusal(403, "FOREIGN_HOST", "Use a loopback address for the simulator.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.environ.get('HTTP_HOST')}":
        raise PlatformRefusal(403, "FOREIGN_ORIGIN", "Other web pages may not drive the simulator.")


@control.errorhandler(AppCallError)
def _app_failed(error: AppCallError) -> tuple[Response, int]:
    return jsonify(error_code="APP_CALL_FAILED", message=str(error)), 502


@control.get("/")
@control.get("/simulator")
def index() -> Response:
    """What this is."""
    rules = current_app.url_map.iter_rules()
    return jsonify(
        about="An imitation of the platform, for development; never expose it.",
        base_name=runtime().hosts.base_name,
        endpoints=sorted(
            f"{method} {rule.rule}"
            for rule in rules
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        ),
    )


@control.get("/simulator/state")
def state() -> Response:
    """Organizations, installations, faults and counters, without secrets."""
    return jsonify(runtime().platform.snapshot())


@control.get("/simulator/requests")
def requests() -> Response:
    """The last requests that reached the platform."""
    return jsonify(data=[record._asdict() for record in list(runtime().platform.requests)])


@control.delete("/simulator/requests")
def reset_requests() -> tuple[str, int]:
    """Forget the requests."""
    runtime().platform.reset_log()
    return "", 204


@control.post("/simulator/organizations")
def create_organization() -> Response:
    """Create ``{"organization"}``, unless it is there."""
    fields = Fields()
    fields.only("organization")
    organization = runtime().platform.organization(fields.organization())
    return jsonify(id=organization.id, subdomain=organization.subdomain)


@control.post("/simulator/install")
def install() -> Response:
    """Install an app; options as of ``Platform.install``."""
    fields = Fields()
    texts = ("client_id", "client_secret", "activate", "shared_secret")
    flags = ("send_subdomain", "send_user")
    fields.only("organization", "app_url", *texts, *flags)
    options: dict[str, Any] = {name: fields.get(name, str) for name in texts}
    options["activate"] = options["activate"] or "before"
    options.update({name: fields.get(name, bool, True) for name in flags})
    platform = runtime().platform
    return _shown(platform.install(fields.needed("app_url"), fields.organization(), **options))


@control.post("/simulator/uninstall")
def uninstall() -> Response:
    """Uninstall an app; ``"revoke": false`` keeps its secret accepted."""
    fields = Fields()
    fields.only("organization", "app_url", "client_id", "revoke")
    revoke = fields.get("revoke", bool, True)
    platform = runtime().platform
    return _shown(platform.uninstall(_app(fields), fields.organization(), revoke=revoke))


@control.post("/simulator/enable")
def enable() -> Response:
    """Tell an app that it is enabled."""
    return _switch(runtime().platform.enable)


@control.post("/simulator/disable")
def disable() -> Response:
    """Tell an app that it is disabled."""
    return _switch(runtime().platform.disable)


@control.post("/simulator/webhook")
def webhook() -> Response:
    """Deliver an event; options as of ``Platform.webhook``."""
    fields = Fields()
    fields.only(*_OF_WEBHOOKS, "older_sub", "expires_in", "token", "payload", "force")
    outcome = runtime().platform.webhook(
        fields.organization(),
        fields.needed("event"),
        fields.raw("data"),
        fields.get("path", str),
        app_url=_app(fields),
        older_sub=fields.get("older_sub", bool, False),
        expires_in=fields.life(WEBHOOK_TOKEN_LIFE),
        token=fields.get("token", str),
        payload=fields.raw("payload"),
        force=fields.get("force", bool, False),
    )
    return _shown(outcome)


@control.get("/simulator/tokens")
def show_tokens() -> Response:
    """A page with a token of each kind to paste; ``organization`` is ``acme`` where the query names none."""
    organization = organization_label(request.args.get("organization", "acme"))
    app_url = request.args.get("app_url")
    page = tokens_page(runtime().platform, organization, _origin(organization), app_url)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response


@control.post("/simulator/deliveries")
def deliveries() -> Response:
    """Deliver an event many times; options as of ``Platform.deliver``."""
    fields = Fields()
    flags, numbers = ("reorder", "replay"), {"count": 1, "duplicates": 0, "concurrency": 1}
    fields.only(*_OF_WEBHOOKS, "tamper", "seed", *flags, *numbers)
    options: dict[str, Any] = {name: fields.get(name, bool, False) for name in flags}
    options |= {name: fields.get(name, int, default) for name, default in numbers.items()}
    tamper = fields.get("tamper", list, [])
    report = runtime().platform.deliver(
        fields.organization(),
        fields.needed("event"),
        fields.raw("data"),
        fields.get("path", str),
        app_url=_app(fields),
        tamper=[kind if isinstance(kind, str) else "" for kind in tamper],
        seed=fields.get("seed", int),
        **options,
    )
    return jsonify(asdict(report))


@control.post("/simulator/tokens")
def tokens() -> Response:
    """Make a token of ``kind`` user, connect, open-api, webhook or entra."""
    fields = Fields()
    fields.only("kind", "organization", "expires_in", "email", "scope", "app_url", "older_sub")
    platform, kind = runtime().platform, fields.needed("kind")
    life = fields.life(WEBHOOK_TOKEN_LIFE if kind == "webhook" else PLATFORM_TOKEN_LIFE)
    subdomain = platform.open_api_owner.subdomain if kind == "open-api" else fields.organization()
    email = fields.get("email", str)
    if kind == "user":
        token = platform.user_token(subdomain, email, expires_in=life)
    elif kind == "connect":
        scope = fields.get("scope", str, "")
        token = platform.connect_token(subdomain, email, scope=scope, expires_in=life)
    elif kind == "open-api":
        token = platform.open_api_token(expires_in=life)
    elif kind == "webhook":
        older_sub = fields.get("older_sub", bool, False)
        token = platform.webhook_token(subdomain, _app(fields), older_sub=older_sub, expires_in=life)
    elif kind == "entra":
        token = entra_token(platform, subdomain, email, expires_in=life)
    else:
        raise FieldError("kind", "must be user, connect, open-api, webhook or entra")
    origin = _origin(subdomain)
    return jsonify(token=token, kind=kind, organization=subdomain, origin=origin, expires_in=life)


@control.put("/simulator/faults")
def set_fault() -> Response:
    """Switch a fault on; fields as of ``Faults.set``, all optional."""
    fields = Fields()
    kinds: dict[str, type] = {
        "prefix": str, "organization": str, "status": int, "content_type": str, "headers": dict,
        "delay": float, "drop": bool, "redirect": str, "times": int,
    }  # fmt: skip
    fields.only("body", *kinds)
    options = {name: fields.get(name, kind) for name, kind in kinds.items()}
    options = {name: value for name, value in options.items() if value is not None}
    return jsonify(asdict(runtime().platform.faults.set(body=fields.raw("body"), **options)))


@control.delete("/simulator/faults")
def clear_faults() -> tuple[str, int]:
    """Switch faults off: all, or those of the query's ``prefix`` and ``organization``."""
    prefix, organization = request.args.get("prefix"), request.args.get("organization")
    if organization is not None and prefix is None:
        prefix = ""
    runtime().platform.faults.clear(prefix, organization=organization)
    return "", 204


def _origin(subdomain: str) -> str:
    return f"http://{subdomain}.{runtime().hosts.base_name}:{request.environ['SERVER_PORT']}"


def _switch(action: Callable[[str | None, str], Outcome]) -> Response:
    fields = Fields()
    fields.only("organization", "app_url", "client_id")
    return _shown(action(_app(fields), fields.organization()))


def _app(fields: Fields) -> str | None:
    """The app that is meant: ``app_url``, or else the organization's app with ``client_id``."""
    app_url, client_id = fields.get("app_url", str), fields.get("client_id", str)
    if app_url is not None or client_id is None:
        return app_url if app_url is None else str(app_url)
    platform = runtime().platform
    with platform.lock:
        rows = platform.organization(fields.organization()).installations.values()
        found = [row.app_url for row in rows if row.client_id == client_id]
    if len(found) != 1:
        raise SimulatorError(f"{len(found)} installed apps have the client id {client_id!r}")
    return found[0]


def _shown(outcome: Outcome) -> Response:
    return jsonify(**asdict(outcome), ok=outcome.ok)
