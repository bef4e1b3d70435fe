"""The endpoints of the imitated platform.

======  ================================  ===============  =======================================
method  path                              host             credential
======  ================================  ===============  =======================================
GET     ``/api/v1/auth``                  organization     platform user token
GET     ``/api/v1/connect-auth/token``    organization     connect-app token, or app token
GET     ``/api/v1/oauth/token``           platform root    Open API token
POST    ``/api/v1/oauth/token``           platform root    client id, secret and user token (body)
any     ``/api/v1/users[/{id}]``          organization     app token
any     ``/api/v1/users[/{id}]``          platform root    Open API token
any     ``/openapi/v1/users[/{id}]``      platform root    Open API token
======  ================================  ===============  =======================================

Paths, request bodies and the fields of verdicts are as in the public SDK of the platform. How it
shows users is not public: here a list is ``{"data": [...]}``, and one user is an object.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from .app import here, json_object, runtime
from .errors import PlatformRefusal, bad_request, invalid_token, not_found
from .models import Organization, User, new_user

api = Blueprint("api", __name__)

_TEXTS = ("email", "name", "role", "status")
_FIXED = ("id", "uuid")


@api.get("/api/v1/auth")
def auth() -> Response:
    """Who a platform user token belongs to."""
    return _who(runtime().platform.check_user_token(here(), _bearer()))


@api.get("/api/v1/connect-auth/token")
def connect_auth() -> Response:
    """Who a connect-app token belongs to."""
    return jsonify(runtime().platform.check_connect_token(here(), _bearer()))


@api.get("/api/v1/oauth/token")
def open_api_auth() -> Response:
    """Who an Open API token belongs to."""
    _root_only()
    return _who(runtime().platform.check_open_api_token(_bearer()))


@api.post("/api/v1/oauth/token")
def exchange() -> Response:
    """Issue an app token for ``{"username", "password", "origin"}``."""
    _root_only()
    body = json_object()
    for name in ("username", "password", "origin"):
        if not isinstance(body.get(name), str):
            raise bad_request(f"{name} must be a string.")
    work = runtime()
    place = work.hosts.of_origin(body["origin"])
    organization = work.platform.find_organization(place.subdomain or "")
    if organization is None:
        raise invalid_token("The origin names no organization.")
    token = work.platform.exchange(organization, body["username"], body["password"])
    return jsonify(access_token=token)


@api.get("/api/v1/users")
@api.get("/openapi/v1/users")
def list_users() -> Response:
    """All users of the organization."""
    organization = _caller()
    with _lock():
        return jsonify(data=list(organization.users.values()))


@api.post("/api/v1/users")
@api.post("/openapi/v1/users")
def create_user() -> tuple[Response, int]:
    """Add a user; ``email`` is needed."""
    organization = _caller()
    user = new_user(str(uuid.uuid4()), {**_fields(None, whole=True)})
    with _lock():
        _unique(organization, user)
        organization.users[user["id"]] = user
    return jsonify(user), 201


@api.get("/api/v1/users/<user_id>")
@api.get("/openapi/v1/users/<user_id>")
def read_user(user_id: str) -> Response:
    """One user."""
    return jsonify(_user(_caller(), user_id))


@api.route("/api/v1/users/<user_id>", methods=["PUT", "PATCH"])
@api.route("/openapi/v1/users/<user_id>", methods=["PUT", "PATCH"])
def change_user(user_id: str) -> Response:
    """Replace a user (PUT), or some of its fields (PATCH)."""
    organization = _caller()
    whole = request.method == "PUT"
    fields = _fields(user_id, whole=whole)
    with _lock():
        old = _user(organization, user_id)
        user = new_user(user_id, fields) if whole else {**old, **fields}
        _unique(organization, user)
        organization.users[user_id] = user
    return jsonify(user)


@api.delete("/api/v1/users/<user_id>")
@api.delete("/openapi/v1/users/<user_id>")
def delete_user(user_id: str) -> tuple[str, int]:
    """Remove a user."""
    organization = _caller()
    with _lock():
        _user(organization, user_id)
        del organization.users[user_id]
    return "", 204


def _lock() -> threading.RLock:
    return runtime().platform.lock


def _who(user: User) -> Response:
    return jsonify(uuid=user["uuid"], role=user["role"], status=user["status"])


def _root_only() -> None:
    if g.place.kind != "root":
        raise not_found()


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise invalid_token("A bearer token is needed.")
    return token


def _caller() -> Organization:
    """The organization that the caller may work on, by host and credential."""
    platform = runtime().platform
    if g.place.kind == "root":
        platform.check_open_api_token(_bearer())
        return platform.open_api_owner
    if request.path.startswith("/openapi/"):
        raise not_found()
    organization = here()
    platform.check_app_token(organization, _bearer())
    return organization


def _user(organization: Organization, user_id: str) -> User:
    user = organization.users.get(user_id)
    if user is None:
        raise not_found("There is no such user.")
    return user


def _fields(user_id: str | None, *, whole: bool) -> dict[str, Any]:
    """The fields of the body, checked. Fields that we do not know are kept as they come."""
    fields = json_object()
    if whole and "email" not in fields:
        raise bad_request("email is needed.")
    for name in _TEXTS:
        if name in fields and not isinstance(fields[name], str):
            raise bad_request(f"{name} must be a string.")
    if not fields.get("email", "@").count("@") == 1:
        raise bad_request("email must be an e-mail address.")
    for name in _FIXED:
        if fields.pop(name, user_id) != user_id:
            raise bad_request(f"{name} cannot be chosen.")
    return fields


def _unique(organization: Organization, user: User) -> None:
    for other in organization.users.values():
        if other["email"] == user["email"] and other["id"] != user["id"]:
            raise PlatformRefusal(409, "CONFLICT", "A user with this email exists already.")
