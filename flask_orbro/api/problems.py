"""Errors of Flask, werkzeug and flask-restx in the one shape: RFC 9457 problem details."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError

from ..errors import ProblemError
from ..problem import PROBLEM_JSON, problem
from ..state import get_state
from .audit import audit_answer


def problem_response(error: HTTPException) -> Response:
    """The answer to an HTTP exception, as a problem document; its other headers are kept.

    ``app.register_error_handler(HTTPException, problem_response)`` gives a whole app this shape.
    """
    audit_answer(error)
    found = error.get_response()
    if isinstance(error, ProblemError) or found.status_code < 400 or error.response is not None:
        return _flask_response(found)
    said = getattr(error, "data", None)  # flask-restx's abort() and validation put their words here
    said = said if isinstance(said, dict) else {}
    name = "_".join(type(error).__name__.split()) if error.name is None else error.name
    document = problem(
        found.status_code,
        str(said.get("message") or error.description or name),
        name.lower().replace(" ", "_"),
        errors=said.get("errors"),
    )
    return _with_body(_flask_response(found), document)


def init_problems(app: Flask) -> None:
    """Answer in this shape below the lifecycle paths and the APIs we know; leave the rest as it is."""
    if not _handles(app, HTTPException):
        app.register_error_handler(HTTPException, _problem_where_ours)


def handle_api_error(
    restx_handler: Callable[[Exception], Any], own_handlers: Callable[[], Any], error: Exception
) -> Any:
    """flask-restx's ``Api.handle_error``, in this shape.

    flask-restx would answer 500 to an exception that the *app* has a handler for; such a handler is
    obeyed here.

    :param restx_handler: what it would have done.
    :param own_handlers: the exceptions that the API has handlers for.
    """
    if isinstance(error, tuple(own_handlers())):
        return restx_handler(error)
    if isinstance(error, HTTPException):
        return problem_response(error)
    if _handles(current_app._get_current_object(), type(error)):  # type: ignore[attr-defined]
        raise error  # restx then lets Flask handle it
    response = restx_handler(error)
    document = problem(500, "The app failed; the failure is in its log.", "internal_server_error")
    return _with_body(response, document)


def _problem_where_ours(error: HTTPException) -> Any:
    audit_answer(error)
    state = get_state()
    ours = request.path in {
        *state.descriptor.lifecycle.values(),
        state.config.descriptor_url,
        *state.inbox_resources,
    }
    return problem_response(error) if ours or any(map(_is_below, state.apis)) else error


def _is_below(api: Any) -> bool:
    """Whether this request is for a path of an API, known or not."""
    try:
        base: str = api.base_path
    except BuildError:  # its prefix has variables, which nothing tells here
        return False
    return f"{request.root_path}{request.path}".startswith(base.rstrip("/") + "/")


def _handles(app: Flask, error: type[BaseException]) -> bool:
    """Whether the app, or this request's blueprint, has an error handler for such an error."""
    names = [None, *(request.blueprints if request else ())]
    return any(
        parent in app.error_handler_spec[name][None]
        for name in names
        for parent in error.__mro__
        if parent is not Exception
    )


def _flask_response(found: Any) -> Response:
    return Response(found.get_data(), status=found.status, headers=found.headers)


def _with_body(response: Response, document: dict[str, Any]) -> Response:
    response.set_data(json.dumps(document))
    response.content_type = PROBLEM_JSON
    return response
