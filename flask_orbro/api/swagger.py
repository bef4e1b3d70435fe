"""What the extension says in a Swagger (OpenAPI 2.0) document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask_restx import fields
from flask_restx.utils import merge
from marshmallow import Schema
from werkzeug.http import HTTP_STATUS_CODES

from ..errors import (
    ContentTooLarge,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ProblemError,
    ServiceUnavailable,
    TooManyRequests,
    UnsupportedMediaType,
)
from ..problem import PROBLEM_JSON, problem

F = TypeVar("F", bound=Callable[..., Any])

USER, CONNECT, OPEN_API, WEBHOOK = "user", "connect", "open_api", "webhook"

#: The name of each credential's security definition.
SECURITY = {
    USER: "orbroUser",
    CONNECT: "orbroConnectApp",
    OPEN_API: "orbroOpenApi",
    WEBHOOK: "orbroWebhook",
}

#: Where :func:`mark_decorator` leaves a decorator's documentation.
CREDENTIALS = "__orbro_credentials__"


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
    409: "It is in conflict with what is there",
    413: "The body is too large",
    415: "The body is not declared as JSON",
    429: "Too many requests; see `Retry-After`",
    500: "The app is at fault; see its log",
    502: "A back end refuses what the app asks of it",
    503: "It cannot be decided now; see `Retry-After`",
}
_ERRORS: tuple[type[ProblemError], ...] = (
    *(InvalidRequest, NotAuthenticated, NotAllowed, NotFound),
    *(ContentTooLarge, UnsupportedMediaType, TooManyRequests, ServiceUnavailable),
)
_CODES = {error.code: error.default_reason for error in _ERRORS}
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

    def __init__(self, status: int, words: str) -> None:
        super().__init__()
        code = _CODES.get(status) or HTTP_STATUS_CODES[status].lower().replace(" ", "_")
        self._example = problem(status, f"{words}.", code)

    def schema(self) -> dict[str, Any]:
        properties: dict[str, Any] = {
            name: {"type": "integer" if name == "status" else "string", "example": value}
            for name, value in self._example.items()
        }
        errors = {"type": "object", "description": "Faults by member, where the input has any."}
        return {"type": "object", "required": list(properties), "properties": properties | {"errors": errors}}


#: What an operation with documented errors answers: flask-restx itself would name JSON alone.
PRODUCES = ["application/json", PROBLEM_JSON]


def problems(*statuses: int) -> dict[str, tuple[str, Any]]:
    """Error answers for ``doc(responses=…)``, each a problem document (RFC 9457)."""
    return _problems({status: _ANSWERS[status] for status in statuses})


def _problems(words: Mapping[int, str]) -> dict[str, tuple[str, Any]]:
    return {str(status): (text, ProblemField(status, text)) for status, text in words.items()}


def answers_problems(*statuses: int, words: Mapping[int, str] | None = None) -> Callable[[F], F]:
    """Document the error answers of a method of a Resource, each a problem document.

    :param words: more statuses, or the usual ones, in words of your own.
    """
    responses = problems(*statuses) | _problems(words or {})

    def decorator(view: F) -> F:
        return _document(view, {"responses": responses, "produces": PRODUCES})

    return decorator


def document_credentials(view: F, kinds: Iterable[str], *, optional: bool) -> F:
    """Add the security and the error answers of a view's credentials to its documentation."""
    return _document(view, credentials_doc(kinds, optional=optional))


def mark_decorator(decorator: F, kinds: Iterable[str], *, optional: bool = False) -> F:
    """Leave on a decorator what it documents, for where a Resource names it in ``method_decorators``."""
    setattr(decorator, CREDENTIALS, credentials_doc(kinds, optional=optional))
    return decorator


def credentials_doc(kinds: Iterable[str], *, optional: bool) -> dict[str, Any]:
    """The security and the error answers of some credentials."""
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
    return doc | {"security": security, "responses": problems(*sorted(statuses)), "produces": PRODUCES}


def _document(view: F, doc: dict[str, Any]) -> F:
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


def schema_params(schema: Schema | type[Schema]) -> dict[str, Any]:
    """A marshmallow schema as query parameters, for ``doc(params=…)``."""
    plugin = MarshmallowPlugin()
    APISpec("", "", "2.0", plugins=[plugin])
    assert plugin.converter is not None
    found = plugin.converter.schema2parameters(schema, location="query")
    return {parameter["name"]: parameter for parameter in found}
