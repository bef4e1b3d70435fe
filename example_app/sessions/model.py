"""What is remembered of a session: only that it has ended."""

from __future__ import annotations

from sqlalchemy import Double, String
from sqlalchemy.orm import Mapped, mapped_column

from ..extensions import db


class EndedSession(db.Model):  # type: ignore[name-defined]
    """A session whose tokens are refused though they have not expired."""

    __tablename__ = "ended_sessions"

    #: The claim ``sid`` of its tokens.
    sid: Mapped[str] = mapped_column(String(32), primary_key=True)
    #: When its last token will have expired, in seconds since the epoch; ``None``: never.
    forget_at: Mapped[float | None] = mapped_column(Double, index=True)
