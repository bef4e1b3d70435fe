"""What goes wrong in the simulator.

::

    Exception
    ├── SimulatorError       whoever drives the simulator asked for the impossible
    │   ├── FieldError       one named input has a wrong value
    │   └── AppCallError     the app under test could not be called, or its descriptor is unusable
    └── PlatformRefusal      the imitated platform refuses a request; becomes a JSON answer
"""

from __future__ import annotations


class SimulatorError(Exception):
    """The simulator cannot do what was asked; the message is one sentence for a person."""


class FieldError(SimulatorError):
    """One input has a wrong value.

    :param field: name of the input, as the control API spells it.
    :param problem: what is wrong with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


class AppCallError(SimulatorError):
    """The app could not be reached, or its ``connect.json`` cannot be used."""


class PlatformRefusal(Exception):
    """A JSON error answer of the platform: ``{"error_code", "message"}``.

    :param status: HTTP status.
    :param code: value of ``error_code``.
    :param message: value of ``message``.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def invalid_token(message: str = "The token is not valid here.") -> PlatformRefusal:
    """:returns: 401 ``INVALID_TOKEN``, to be raised."""
    return PlatformRefusal(401, "INVALID_TOKEN", message)


def bad_request(message: str) -> PlatformRefusal:
    """:returns: 400 ``BAD_REQUEST``, to be raised."""
    return PlatformRefusal(400, "BAD_REQUEST", message)


def not_found(message: str = "There is nothing here.") -> PlatformRefusal:
    """:returns: 404 ``NOT_FOUND``, to be raised."""
    return PlatformRefusal(404, "NOT_FOUND", message)
