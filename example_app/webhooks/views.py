"""Deliveries that the view handles itself, before it answers; and what came of the others."""

from __future__ import annotations

from typing import Any

from flask_restx import Namespace, Resource

from flask_orbro import current_delivery, current_organization, schema_model, user_required, webhook_required

from ..extensions import db
from .model import DeviceChange
from .schemas import ChangeSchema, DeliveredSchema, DeviceEventSchema

webhooks = Namespace("webhooks", "Called by the platform when something happens", path="/webhook")

_device_event = schema_model(webhooks, "DeviceEvent", DeviceEventSchema)
_delivered = schema_model(webhooks, "Delivered", DeliveredSchema)
_change = schema_model(webhooks, "Change", ChangeSchema)


@webhooks.route("/device")
class Device(Resource):
    # Documented, not validated: what is not public about deliveries is no reason to refuse one.
    @webhooks.expect(_device_event, validate=False)
    @webhooks.response(200, "Received", _delivered)
    @webhook_required(event="device:device_updated", property="profile_id", value="Fixed.UWB.Anchor")
    def post(self) -> Any:
        """A device has changed"""
        return DeliveredSchema().dump({"received": True, "event": current_delivery.event})


@webhooks.route("/changes")
class Changes(Resource):
    @webhooks.response(200, "The newest 100", [_change])
    @user_required
    def get(self) -> Any:
        """What has become of the deliveries to /webhook/events"""
        own = db.select(DeviceChange).filter_by(organization_id=current_organization.organization_id)
        newest = db.session.scalars(own.order_by(DeviceChange.id.desc()).limit(100))
        return ChangeSchema().dump(newest, many=True)
