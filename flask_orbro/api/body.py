"""Reading a JSON body that nobody has checked yet."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import ContentTooLarge, InvalidRequest, UnsupportedMediaType
from ..state import get_state


def load_body(schema: Schema) -> dict[str, Any]:
    """The JSON body of the current request, as a marshmallow schema accepts it.

    :raises ProblemError: 400, 413 or 415; it never shows a value.
    """
    return load(schema, read_json(get_state().config.max_body))


def read_json(max_bytes: int) -> Any:
    """The JSON body of the current request.

    :raises ContentTooLarge: past ``max_bytes``.
    :raises UnsupportedMediaType: where it is not declared as JSON.
    :raises InvalidRequest: where it is not JSON.
    """
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with 'Content-Type: application/json'.")
    # One more than may be: werkzeug cuts a chunked body off at its limit without a word.
    request.max_content_length = max_bytes + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        body = None
    except Exception:  # each server has its own for a body that is framed wrongly or ends early
        raise InvalidRequest("The body could not be read.", reason="body_unreadable") from None
    if body is None or len(body) > max_bytes:
        raise ContentTooLarge(f"The body is larger than {max_bytes} bytes.")
    if not body:
        raise InvalidRequest("There is no body; send a JSON object.", reason="body_missing")
    try:
        return _json.decode(body.decode(json.detect_encoding(body)))
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.", reason="json_malformed") from None


def load(schema: Schema, document: Any) -> dict[str, Any]:
    """The document's known members.

    :raises InvalidRequest: naming each member at fault; it never shows a value.
    """
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.", reason="body_not_an_object")
    try:
        loaded: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        # Only the messages: the error itself carries the raw input.
        faults: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        names = ", ".join(map(repr, faults))
        raise InvalidRequest(
            f"These members are not acceptable: {names}.", reason="body_invalid", errors=faults
        ) from None
    return loaded


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(written: str) -> float:
    """A number that can be written as JSON again; ``1e999`` cannot."""
    value = float(written)
    if math.isinf(value):
        raise ValueError(written)
    return value


_json = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
