"""One audit record for every refusal: the exact reason, and who was meant."""

from __future__ import annotations

from typing import Any

from flask import request

from ..errors import ProblemError
from ..logs import audit_refusal
from ..protocol import bearer_token, peek_claims
from ..state import get_state
from .body import read_json


def audit(refusal: ProblemError, credential: str | None) -> None:
    """Record that the current request was refused.

    :param credential: the kinds that would have been taken; ``None`` where none is.
    """
    cause = refusal.__cause__
    audit_refusal(
        status=refusal.code,
        reason=refusal.reason,
        detail=str(cause) if cause is not None else refusal.detail,
        credential=credential,
        organization=refusal.organization_id,
        named=_shown(_named(credential)),
        endpoint=request.endpoint,
        request_id=_shown(request.headers.get("X-Request-Id")),
    )


def _named(credential: str | None) -> Any:
    """The organization that the request names, which nobody has checked."""
    if credential is None:
        try:
            body = read_json(get_state().config.max_body)
        except ProblemError:
            return None
        return body.get("organization_id") if isinstance(body, dict) else None
    token = bearer_token(request.headers.get("Authorization", ""))
    return request.args.get("origin") or request.headers.get("sub") or peek_claims(token or "").get("sub")


def _shown(value: Any) -> str | None:
    """What a caller says, fit for one line of a log."""
    return ascii(value[:100]) if isinstance(value, str) else None
