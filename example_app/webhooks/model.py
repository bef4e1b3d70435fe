"""What deliveries have changed."""

from __future__ import annotations

from sqlalchemy import Double, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ..extensions import db


class DeviceChange(db.Model):  # type: ignore[name-defined]
    """One row for each delivery that was handled."""

    __tablename__ = "device_change"
    __table_args__ = (Index("ix_device_change_organization_id", "organization_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[str] = mapped_column(String(255))
    event: Mapped[str] = mapped_column(String(255))
    at: Mapped[float] = mapped_column(Double)
