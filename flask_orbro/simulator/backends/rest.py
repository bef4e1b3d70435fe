"""Weather behind an API key, and notes behind OAuth client credentials."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_plus

from flask import Blueprint, Response, jsonify, request

from ..app import json_object, runtime
from ..errors import bad_request, invalid_token, not_found
from .tokens import API_KEY, CLIENT_ID, CLIENT_SECRET, TOKEN_LIFE, need_scope, oauth_token, same

rest = Blueprint("rest", __name__)

#: Made up, and the same on every day.
_WEATHER = {
    "seoul": ("Seoul", 21.5, "clear"),
    "berlin": ("Berlin", 14.0, "rain"),
    "nairobi": ("Nairobi", 24.0, "clouds"),
}
_SCOPES = ("notes", "patients")
_LONGEST_NOTE = 10_000


@rest.get("/weather")
def weather() -> Response:
    """The weather of a city."""
    if not same(API_KEY, request.args.get("key")):
        raise invalid_token("The key is not valid here.")
    found = _WEATHER.get(request.args.get("city", "").strip().lower())
    if found is None:
        raise not_found(f"There is no weather of this city; there is that of {', '.join(_WEATHER)}.")
    city, temperature, sky = found
    return jsonify(city=city, temperature=temperature, unit="C", sky=sky)


@rest.post("/oauth/token")
def token() -> tuple[Response, int]:
    """A token for client credentials (RFC 6749, section 4.4)."""
    client_id, client_secret = _client()
    if not (same(CLIENT_ID, client_id) and same(CLIENT_SECRET, client_secret)):
        return jsonify(error="invalid_client"), 401
    if request.form.get("grant_type") != "client_credentials":
        return jsonify(error="unsupported_grant_type"), 400
    scopes = request.form.get("scope", " ".join(_SCOPES)).split()
    if not set(scopes) <= set(_SCOPES):
        return jsonify(error="invalid_scope"), 400
    scope = " ".join(scopes)
    made = oauth_token(runtime().platform, scope)
    answer = {"access_token": made, "token_type": "Bearer", "expires_in": TOKEN_LIFE, "scope": scope}
    return jsonify(answer), 200


@rest.get("/notes")
def list_notes() -> Response:
    """All notes."""
    need_scope("notes")
    return jsonify(data=list(runtime().platform.notes))


@rest.post("/notes")
def create_note() -> tuple[Response, int]:
    """Write a note down: ``{"text"}``."""
    need_scope("notes")
    text = json_object().get("text")
    if not isinstance(text, str) or not 1 <= len(text) <= _LONGEST_NOTE:
        raise bad_request(f"text must be a string of 1 to {_LONGEST_NOTE} characters.")
    return jsonify(runtime().platform.add_note(text)), 201


@rest.get("/notes/<note_id>")
def read_note(note_id: str) -> Response:
    """One note."""
    need_scope("notes")
    found = [note for note in list(runtime().platform.notes) if note["id"] == note_id]
    if not found:
        raise not_found("There is no such note.")
    return jsonify(found[0])


def _client() -> tuple[str | None, str | None]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return request.form.get("client_id"), request.form.get("client_secret")
    try:
        client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None, None
    return unquote_plus(client_id), unquote_plus(client_secret)
