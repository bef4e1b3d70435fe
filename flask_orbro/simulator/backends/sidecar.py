"""The calls of a Microsoft Entra sidecar that act for a user, with a little of Graph behind them.

Neither Entra nor Graph is asked; the tokens are the simulator's own: ``flask orbro simulate token entra``.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, request

from ..errors import PlatformRefusal, bad_request
from .tokens import entra_user

sidecar = Blueprint("sidecar", __name__, url_prefix="/sidecar")

_OVERRIDE = "optionsOverride."
_JSON = "application/json"


@sidecar.get("/healthz")
def health() -> Response:
    """Whether it runs."""
    return Response("Healthy", content_type="text/plain")


@sidecar.get("/AuthorizationHeader/<api>")
def authorization_header(api: str) -> Response:
    """A header for Graph, which only this stand-in's Graph would take."""
    user = entra_user()
    _known(api)
    return _answer({"authorizationHeader": f"Bearer stand-in-for-{user['oid']}"})


@sidecar.post("/DownstreamApi/<api>")
def downstream_api(api: str) -> Response:
    """Call Graph for the user."""
    user = entra_user()
    _known(api)
    method = request.args.get(f"{_OVERRIDE}HttpMethod", "GET").upper()
    path = request.args.get(f"{_OVERRIDE}RelativePath", "").partition("?")[0].strip("/")
    status, content = _graph(user, method, path)
    return _answer(
        {
            "statusCode": status,
            "headers": {} if content is None else {"Content-Type": [_JSON]},
            "content": None if content is None else json.dumps(content),
        }
    )


@sidecar.errorhandler(PlatformRefusal)
def _refused(refusal: PlatformRefusal) -> Response:
    problem = {"title": refusal.code, "status": refusal.status, "detail": refusal.message}
    return _answer(problem, refusal.status, "application/problem+json")


def _graph(user: dict[str, Any], method: str, path: str) -> tuple[int, dict[str, Any] | None]:
    """The answer of Graph: its status and its content."""
    name = user["preferred_username"]
    if (method, path) == ("GET", "me"):
        profile = {"id": user["oid"], "displayName": user["name"], "mail": name, "userPrincipalName": name}
        return 200, profile
    if (method, path) == ("GET", "me/messages"):
        sender = {"emailAddress": {"name": "The simulator", "address": "simulator@example.com"}}
        message = {"id": "1", "subject": "Welcome", "from": sender, "isRead": False}
        return 200, {"value": [message]}
    if (method, path) == ("POST", "me/sendMail"):
        body = request.get_json(silent=True)
        if isinstance(body, dict) and isinstance(body.get("message"), dict):
            return 202, None
        return 400, _fault("ErrorInvalidRequest", "The body has no message.")
    return 404, _fault("ResourceNotFound", "The stand-in of Graph does not know this.")


def _fault(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _known(api: str) -> None:
    if api != "graph":
        raise bad_request(f"Not able to resolve {api!r}.")


def _answer(document: dict[str, Any], status: int = 200, kind: str = _JSON) -> Response:
    return Response(json.dumps(document), status, content_type=kind)
