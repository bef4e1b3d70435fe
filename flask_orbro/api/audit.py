"""One audit record for every refusal: the exact reason, and who was meant."""

from __future__ import annotations

from typing import Any

from flask import request

from ..errors import CallFailed, ProblemError
from ..logs import audit_refusal
from ..protocol import bearer_token, peek_claims
from ..state import get_state
from .body import read_json

#: The refusal of this request that was recorded last.
_RECORDED = "orbro.recorded_refusal"


def audit(refusal: ProblemError, credential: str | None = None) -> None:
    """Record that the current request was refused; once, however many places tell of it.

    :param credential: the kinds that would have been taken; ``None`` where none is.
    """
    if request.environ.get(_RECORDED) is refusal:
        return
    request.environ[_RECORDED] = refusal
    cause = refusal.__cause__
    audit_refusal(
        status=refusal.code,
        reason=refusal.reason,
        detail=str(cause) if cause is not None else refusal.detail,
        credential=credential,
        organization=refusal.organization_id,
        named=_shown(_named(refusal)),
        endpoint=request.endpoint,
        request_id=_shown(request.headers.get("X-Request-Id")),
    )


def audit_answer(error: Exception) -> None:
    """Record an answer that refuses the caller, where no decorator and no lifecycle path has.

    That a call of the app's own has failed refuses nobody.
    """
    if isinstance(error, CallFailed):
        return
    if isinstance(error, ProblemError) and error.code in (401, 403, 429, 503):
        audit(error)


def _named(refusal: ProblemError) -> Any:
    """The organization that the request names, which nobody has checked."""
    state = get_state()
    if request.path in state.descriptor.lifecycle.values():
        try:
            # Who calls too often is not read.
            body = None if refusal.code == 429 else read_json(state.config.max_body)
        except ProblemError:
            return None
        return body.get("organization_id") if isinstance(body, dict) else None
    token = bearer_token(request.headers.get("Authorization", ""))
    origins = " ".join(request.args.getlist("origin"))
    return origins or request.headers.get("sub") or peek_claims(token or "").get("sub")


def _shown(value: Any) -> str | None:
    """What a caller says, fit for one line of a log."""
    return ascii(value[:100]) if isinstance(value, str) else None
