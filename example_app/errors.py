"""Errors of the app and of its libraries, all in the one shape: problem details (RFC 9457)."""

from __future__ import annotations

from flask import Flask, Response, current_app
from marshmallow import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from flask_orbro import ProblemError, problem_response


class InvalidInput(ProblemError):
    code = 400
    default_reason = "input_invalid"


class NotFound(ProblemError):
    code = 404
    default_reason = "not_found"


class Conflict(ProblemError):
    code = 409
    default_reason = "conflict"


class TooManyAttempts(ProblemError):
    code = 429
    default_reason = "too_many_attempts"


class DatabaseUnavailable(ProblemError):
    code = 503
    default_reason = "database_unavailable"


def init_errors(app: Flask) -> None:
    app.register_error_handler(HTTPException, problem_response)
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(StaleDataError, _changed_meanwhile)
    for error in (OperationalError, InterfaceError, PoolTimeout):
        app.register_error_handler(error, _database_unavailable)


def _invalid(error: ValidationError) -> Response:
    # Only the messages: the error itself carries the raw input, a password perhaps.
    faults = error.normalized_messages()  # type: ignore[no-untyped-call]
    return problem_response(InvalidInput("The input is not acceptable.", errors=faults))


def _changed_meanwhile(_error: StaleDataError) -> Response:
    return problem_response(Conflict("Somebody else has changed it at the same time."))


def _database_unavailable(error: Exception) -> Response:
    current_app.logger.error("The database failed.", exc_info=error)
    return problem_response(DatabaseUnavailable("The database cannot be asked now.", retry_after=1))
