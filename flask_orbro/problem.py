"""The one shape of an error body: problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any

from werkzeug.http import HTTP_STATUS_CODES

PROBLEM_JSON = "application/problem+json"


def problem(status: int, detail: str, code: str, **more: Any) -> dict[str, Any]:
    """A problem document.

    :param status: HTTP status.
    :param detail: one sentence for the caller; never a secret.
    :param code: a stable reason in snake case.
    :param more: further members; those that are ``None`` are left out.
    """
    document = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
    }
    return document | {name: value for name, value in more.items() if value is not None}
