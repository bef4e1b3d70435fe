"""Every error this library raises.

.. code-block:: text

    OrbroError
    ├── ConfigurationError          a setting is missing or wrong; init_app stops
    │   └── DescriptorError         connect.json is missing or wrong
    ├── NotInitializedError         init_app was not called for this app
    ├── NoCallerError               there is no caller here
    └── ProblemError (HTTPException)   answers by itself as an RFC 9457 problem document
        ├── InvalidRequest          400  the request cannot be understood
        │   └── InvalidCall (ValueError) 400   an outbound call that cannot be sent as it is
        ├── NotAuthenticated        401  no credential, or a bad one
        ├── NotAllowed              403  the credential is good, but not enough
        ├── NotFound                404  what the request names is not here
        ├── ContentTooLarge         413
        ├── UnsupportedMediaType    415
        ├── TooManyRequests         429  the platform limits this caller
        ├── ServiceUnavailable      503  cannot be decided now; ask again
        └── CallFailed                   an outbound call failed
            ├── PlatformError                 to the platform
            │   ├── PlatformRefused     502   it answered 4xx
            │   ├── PlatformUnavailable 503   no answer, or 5xx
            │   ├── PlatformRateLimited 503   it answered 429
            │   └── PlatformInvalidResponse (ValueError) 502   not what was asked for
            └── ConnectionFailed              by a connection to another back end
                ├── ConnectionRefused       502   it answered 4xx
                │   ├── connections.FhirError          of FHIR: with its issues
                │   │   └── connections.VersionConflict   another version than If-Match said
                │   ├── connections.SidecarRefused     the Entra sidecar did
                │   └── connections.DownstreamRefused  the service behind it did
                ├── ConnectionUnavailable   503   no answer, or 5xx
                ├── ConnectionRateLimited   503   it answered 429
                └── ConnectionMisconfigured 502   its credentials, or where it leads, are wrong

Those below :class:`ProblemError` are HTTP exceptions: every kind of view answers them alike, debugged or not.
"""

from __future__ import annotations

import copyreg
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIEnvironment

from click import ClickException
from werkzeug.exceptions import HTTPException

from .problem import PROBLEM_JSON, problem


class OrbroError(Exception):
    """Base of every error of this library."""


class ConfigurationError(OrbroError, ClickException):
    """A setting is missing or wrong: the key, the fault and the remedy. A command ends with that sentence."""


class DescriptorError(ConfigurationError):
    """The app descriptor (``connect.json``) cannot be read or is not valid."""


class NotInitializedError(OrbroError, RuntimeError):
    """The extension was used with an app that it was not initialised for."""


class NoCallerError(OrbroError, RuntimeError):
    """Something of the caller was read where none is known."""


class ProblemError(HTTPException, OrbroError):
    """An error that knows its own HTTP answer.

    :param detail: one sentence for the caller; never a secret.
    :param reason: the problem document's ``code``.
    :param errors: faults by field, for a body that did not validate.
    :param retry_after: seconds, for the ``Retry-After`` header.
    """

    code: int = 500
    default_reason = "error"
    #: Whose caller was refused, where that is known; for the audit record alone.
    organization_id: str | None = None

    def __init__(
        self,
        detail: str,
        *,
        reason: str | None = None,
        errors: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(description=detail)
        # Werkzeug leaves them empty; what shows an error by them, as Celery's JSON does, would show nothing.
        self.args = (detail,)
        self.detail = detail
        self.reason = reason or self.default_reason
        self.errors = dict(errors) if errors else None
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process, as of Celery: without the arguments of a class, which have names.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    @property
    def data(self) -> dict[str, Any]:
        """The problem document; flask-restx answers an exception's ``data``."""
        return problem(self.code, self.detail, self.reason, errors=self.errors)

    def get_body(self, environ: WSGIEnvironment | None = None, scope: Any = None) -> str:
        return json.dumps(self.data)

    def get_headers(self, environ: WSGIEnvironment | None = None, scope: Any = None) -> list[tuple[str, str]]:
        headers = [("Content-Type", PROBLEM_JSON)]
        if self.retry_after is not None:
            headers.append(("Retry-After", str(max(1, math.ceil(self.retry_after)))))
        return headers


@contextmanager
def refusals_of(organization_id: str | None) -> Iterator[None]:
    """Note on a refusal within the block whose caller it is about."""
    try:
        yield
    except ProblemError as refusal:
        refusal.organization_id = organization_id
        raise


class InvalidRequest(ProblemError):
    """The request cannot be understood: 400."""

    code = 400
    default_reason = "invalid_request"


class InvalidCall(InvalidRequest, ValueError):
    """A call that cannot be sent as it is, for what was put into it: by our own caller, most often."""

    default_reason = "invalid_call"


class _ChallengeError(ProblemError):
    """An answer that carries ``WWW-Authenticate`` (RFC 6750, section 3)."""

    challenge_error: str | None = None

    def get_headers(self, environ: WSGIEnvironment | None = None, scope: Any = None) -> list[tuple[str, str]]:
        challenge = 'Bearer realm="orbro"'
        if self.challenge_error and self.reason != "token_missing":
            challenge += f', error="{self.challenge_error}"'
        return [*super().get_headers(environ, scope), ("WWW-Authenticate", challenge)]


class NotAuthenticated(_ChallengeError):
    """There is no credential, or it is a bad one: 401."""

    code = 401
    default_reason = "token_invalid"
    challenge_error: str | None = "invalid_token"


class NotAllowed(_ChallengeError):
    """The credential is good, but not enough for this: 403."""

    code = 403
    default_reason = "not_allowed"
    challenge_error = "insufficient_scope"


class NotFound(ProblemError):
    """What the request names is not here: 404."""

    code = 404
    default_reason = "not_found"


class ContentTooLarge(ProblemError):
    """The body is larger than ``ORBRO_MAX_BODY``: 413."""

    code = 413
    default_reason = "content_too_large"


class UnsupportedMediaType(ProblemError):
    """The body is not declared as JSON: 415."""

    code = 415
    default_reason = "unsupported_media_type"


class TooManyRequests(ProblemError):
    """The platform limits this caller: 429, with ``Retry-After``."""

    code = 429
    default_reason = "rate_limited"


class ServiceUnavailable(ProblemError):
    """It cannot be decided now, because the platform is out of reach or busy: 503."""

    code = 503
    default_reason = "platform_unavailable"


class CallFailed(ProblemError):
    """An outbound call failed. Unhandled in a view it answers by itself."""


class PlatformError(CallFailed):
    """An outbound call to the platform failed."""


class PlatformUnavailable(PlatformError):
    """The platform gave no answer, or a 5xx."""

    code = 503
    default_reason = "platform_unavailable"


class PlatformRateLimited(PlatformError):
    """The platform answered 429; ``retry_after`` is in seconds."""

    code = 503
    default_reason = "platform_rate_limited"


class PlatformRefused(PlatformError):
    """The platform answered 4xx.

    :param status: the platform's status.
    :param error_code: ``error_code`` of its JSON body, where there is one.
    :param request_id: its ``X-Request-Id``, where there is one.
    """

    code = 502
    default_reason = "platform_refused"

    def __init__(
        self, detail: str, *, status: int, error_code: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error_code = error_code
        self.request_id = request_id


class PlatformInvalidResponse(PlatformError, ValueError):
    """The platform's answer is not what was asked for: a page in HTML where JSON is wanted, perhaps."""

    code = 502
    default_reason = "platform_invalid_response"


class ConnectionFailed(CallFailed):
    """A call by a connection failed.

    :param connection: its name.
    :param answer: the whole answer, where there was one; none of it is shown to our own caller.
    """

    def __init__(
        self, detail: str, *, connection: str, retry_after: float | None = None, answer: Any = None
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.connection = connection
        self.answer = answer


class ConnectionUnavailable(ConnectionFailed):
    """The back end gave no answer, or a 5xx: ``status``, where it gave one."""

    code = 503
    default_reason = "connection_unavailable"

    def __init__(
        self,
        detail: str,
        *,
        connection: str,
        retry_after: float | None = 1,
        status: int | None = None,
        answer: Any = None,
    ) -> None:
        super().__init__(detail, connection=connection, retry_after=retry_after, answer=answer)
        self.status = status


class ConnectionRateLimited(ConnectionFailed):
    """The back end answered 429; ``retry_after`` is in seconds."""

    code = 503
    default_reason = "connection_rate_limited"


class ConnectionMisconfigured(ConnectionFailed):
    """Its definition is wrong: no token is given for its credentials, or its URL leads elsewhere."""

    code = 502
    default_reason = "connection_misconfigured"


class ConnectionRefused(ConnectionFailed):
    """The back end answered 4xx: ``status``."""

    code = 502
    default_reason = "connection_refused"

    def __init__(self, detail: str, *, connection: str, status: int, answer: Any) -> None:
        super().__init__(detail, connection=connection, answer=answer)
        self.status = status
