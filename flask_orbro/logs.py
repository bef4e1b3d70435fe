"""What this library logs: never a credential, and one audit record for every refusal.

Reasons are exact here and terse to the caller.
"""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

#: Loggers of the HTTP client, which would show headers at DEBUG.
CLIENT_LOGGERS = (
    "httpx2",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
)
REDACTED = "[redacted]"

_JWT = r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*"
_SCHEME = r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9_~+/.=-]{4,}"
#: Between a name and its value: in a header, a URL, JSON, or the ``repr`` of a mapping or of pairs.
_IS = r"""(?:\\?['"]\s*[:=,]|\s*[:=])\s*"""
_QUOTED = r"""b?\\?(?P<{0}>['"]).*?(?P={0})"""
_WORD = r"""(?:b?\\?['"])?[^\s'",;&)}\]]+"""
#: Names of what is one word, whatever is before them: ``JWT_SECRET_KEY``, ``x-api-key``.
_NAMED = (
    r"(?i:(?:secret|token|password|api[_-]?key|assertion)(?:[_-]key)?"
    rf"{_IS}(?:{_QUOTED.format('word')}|(?:(?:bearer|basic)\s+)?{_WORD}))"
)
_AUTHORIZATION = rf"""(?i:authorization{_IS}(?:{_QUOTED.format("header")}|digest\s[^\n]*|[^\n'"]+))"""
_SEVERAL = rf"(?i:(?:cookie|encryption_keys?){_IS}(?:{_QUOTED.format('several')}|[^\n]+))"
_IN_URL = r"""(?<=://)[^\s/'"]*:[^\s/'"]+(?=@)"""
#: What SQLAlchemy adds to an error: the values of a row.
_PARAMETERS = r"(?m:\[parameters: .*$)"
_CREDENTIAL = re.compile("|".join((_AUTHORIZATION, _SEVERAL, _NAMED, _JWT, _SCHEME, _IN_URL, _PARAMETERS)))


#: The query of a URL, as the HTTP client writes it: an API key, perhaps, or what is known of a patient.
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s'\"<>]+")


def redact(text: str) -> str:
    """The text with everything that looks like a token, a secret or an ``Authorization`` header gone."""
    return _CREDENTIAL.sub(REDACTED, text)


class RedactingFilter(logging.Filter):
    """Redacts the message, its arguments and the traceback of a record."""

    def redact(self, text: str) -> str:
        return redact(text)

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # it does not fit its arguments, which logging would print as they are
            record.msg, record.args = f"{record.msg} {record.args!r}", None
            message = record.msg
        redacted = self.redact(message)
        if redacted != message:
            record.msg, record.args = redacted, None
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            formatted = "".join(traceback.format_exception(record.exc_info[1]))
            record.exc_text = self.redact(formatted.rstrip("\n"))
        return True


class ClientFilter(RedactingFilter):
    """For the HTTP client's loggers, which show whole URLs."""

    def redact(self, text: str) -> str:
        return _QUERY.sub(f"?{REDACTED}", redact(text))


_filter, _client_filter = RedactingFilter(), ClientFilter()


def get_logger(name: str) -> logging.Logger:
    """A logger of this library. The filter sits on each: a parent's filters do not see a child's records."""
    logger = logging.getLogger(name)
    logger.addFilter(_filter)
    return logger


def redact_client_logs() -> None:
    """Put the filter on the HTTP client's loggers too."""
    for name in CLIENT_LOGGERS:
        logging.getLogger(name).addFilter(_client_filter)


_audit = get_logger("flask_orbro.audit")


def audit_refusal(
    *, status: int, reason: str, detail: str, endpoint: str | None, request_id: str | None, **more: Any
) -> None:
    """Record that somebody was not let in, with what was wrong; ``more`` becomes fields of the record.

    :param reason: the problem document's ``code``.
    :param detail: the exact reason, which the caller is not told.
    """
    said: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "detail": detail,
        "endpoint": endpoint,
        "request_id": request_id,
        **more,
    }
    # The fields go past the filter, which sees only what is formatted.
    fields = {name: redact(value) if isinstance(value, str) else value for name, value in said.items()}
    text = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    _audit.warning("Refused: %s", text, extra={"orbro": fields})
