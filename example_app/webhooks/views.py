"""Deliveries that the view handles itself, before it answers."""

from __future__ import annotations

from typing import Any

from flask_restx import Namespace, Resource

from flask_orbro import current_delivery, schema_model, webhook_required

from .schemas import DeliveredSchema, DeviceEventSchema

webhooks = Namespace("webhooks", "Called by the platform when something happens", path="/webhook")

_device_event = schema_model(webhooks, "DeviceEvent", DeviceEventSchema)
_delivered = schema_model(webhooks, "Delivered", DeliveredSchema)


@webhooks.route("/device")
class Device(Resource):
    # Documented, not validated: what is not public about deliveries is no reason to refuse one.
    @webhooks.expect(_device_event, validate=False)
    @webhooks.response(200, "Received", _delivered)
    @webhook_required
    def post(self) -> Any:
        """A device has changed"""
        payload = current_delivery.payload
        event = payload.get("event_name") if isinstance(payload, dict) else None
        return DeliveredSchema().dump({"received": True, "event": event if isinstance(event, str) else None})
