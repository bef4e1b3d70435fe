"""Deliveries that are acknowledged first and handled afterwards."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_orbro import Delivery, OrganizationInfo

from ..extensions import db, orbro
from .model import DeviceChange


@orbro.on("device:device_updated", path="/webhook/events", property="profile_id", value="Fixed.UWB.Anchor")
def remember_change(delivery: Delivery) -> None:
    """Not committed here: it commits together with the delivery, exactly once."""
    change = DeviceChange(
        organization_id=delivery.organization_id, event=delivery.event or "", at=delivery.received_at or 0
    )
    db.session.add(change)


def forget_changes(_app: Flask, organization: OrganizationInfo, **_: Any) -> None:
    """Nothing is kept about who is erased."""
    db.session.execute(db.delete(DeviceChange).filter_by(organization_id=organization.organization_id))
    db.session.commit()
