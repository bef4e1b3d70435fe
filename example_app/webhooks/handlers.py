"""Deliveries that are acknowledged first and handled afterwards."""

from __future__ import annotations

from flask_orbro import Delivery

from ..extensions import db, orbro
from .model import DeviceChange


@orbro.on("device:device_updated", path="/webhook/events", property="profile_id", value="Fixed.UWB.Anchor")
def remember_change(delivery: Delivery) -> None:
    """Not committed here: it commits together with the delivery, exactly once."""
    change = DeviceChange(
        organization_id=delivery.organization_id, event=delivery.event or "", at=delivery.received_at or 0
    )
    db.session.add(change)
