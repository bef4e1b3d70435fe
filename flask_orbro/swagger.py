"""What the extension says in a Swagger (OpenAPI 2.0) document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask_restx import fields
from flask_restx.utils import merge
from marshmallow import Schema

F = TypeVar("F", bound=Callable[..., Any])

USER, CONNECT, OPEN_API, WEBHOOK = "user", "connect", "open_api", "webhook"

#: The name of each credential's security definition.
SECURITY = {
    USER: "orbroUser",
    CONNECT: "orbroConnectApp",
    OPEN_API: "orbroOpenApi",
    WEBHOOK: "orbroWebhook",
}


def _bearer(description: str) -> dict[str, str]:
    # OpenAPI 2.0 knows no bearer scheme; the header is the nearest it has.
    return {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": f"{description} Type `Bearer `, then the token.",
    }


#: Security definitions, for ``Api(authorizations=…)``; :meth:`OrbroConnect.init_api` adds them.
AUTHORIZATIONS = {
    SECURITY[USER]: _bearer("A platform user's token; name the organization with `origin` or `sub`."),
    SECURITY[CONNECT]: _bearer(
        "A connect-app token of another caller; name the organization with `origin` or `sub`."
    ),
    SECURITY[OPEN_API]: _bearer("An Open API token of the developer's own organization."),
    SECURITY[WEBHOOK]: _bearer("A webhook token, which the platform signs for each delivery."),
}

_ANSWERS = {
    400: "The request cannot be understood",
    401: "No credential, or a bad one",
    403: "The credential is good, but not enough",
    404: "What the request names is not here",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    429: "The platform limits requests",
    503: "The platform cannot be asked now",
}
_ORGANIZATION = {
    "origin": {
        "in": "query",
        "type": "string",
        "description": "The organization, as web front ends name it: `https://{subdomain}.{host}`.",
    },
    "sub": {
        "in": "header",
        "type": "string",
        "description": "The organization, as mobile apps name it: `{subdomain}`.",
    },
}


class ProblemField(fields.Raw):  # type: ignore[misc]
    """The problem document, written out where it is answered: it needs no registered model."""

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": {"type": "string", "example": "about:blank"},
                "title": {"type": "string", "example": "Unauthorized"},
                "status": {"type": "integer", "example": 401},
                "detail": {"type": "string", "example": "This token has expired."},
                "code": {"type": "string", "example": "token_expired"},
                "errors": {"type": "object", "description": "Faults by member."},
            },
        }


def problems(*statuses: int) -> dict[str, tuple[str, Any]]:
    """Error answers for ``doc(responses=…)``, each a problem document (RFC 9457)."""
    return {str(status): (_ANSWERS[status], ProblemField()) for status in statuses}


def document_credentials(view: F, kinds: Iterable[str], *, optional: bool) -> F:
    """Add the security and the error answers of a view's credentials to its documentation."""
    kinds = tuple(kinds)
    statuses = {401, 403}
    security: list[dict[str, list[str]]] = [{SECURITY[kind]: []} for kind in kinds]
    doc: dict[str, Any] = {}
    if WEBHOOK in kinds:
        statuses |= {400, 413, 415, 503}
    if {USER, CONNECT, OPEN_API} & set(kinds):
        statuses |= {429, 503}
    if {USER, CONNECT} & set(kinds):
        statuses.add(400)
        doc["params"] = _ORGANIZATION
    if optional:
        security.append({})
    doc |= {"security": security, "responses": problems(*sorted(statuses))}
    view.__apidoc__ = merge(getattr(view, "__apidoc__", {}) or {}, doc)  # type: ignore[attr-defined]
    return view


def schema_model(api: Any, name: str, schema: Schema | type[Schema]) -> Any:
    """A marshmallow schema as a flask-restx model: one source for validation and documentation.

    :param api: a flask-restx ``Api`` or ``Namespace``.
    """
    spec = APISpec("", "", "2.0", plugins=[MarshmallowPlugin()])
    spec.components.schema(name, schema=schema)
    definitions = spec.to_dict()["definitions"]
    for other, definition in definitions.items():
        if other != name:
            api.schema_model(other, definition)
    return api.schema_model(name, definitions[name])
