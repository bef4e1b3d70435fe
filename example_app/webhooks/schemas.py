"""What a delivery says, and what is answered."""

from __future__ import annotations

from marshmallow import Schema, fields


class DeviceEventSchema(Schema):
    """How the platform writes a delivery is not public; this is how the simulator does."""

    event_name = fields.String(metadata={"example": "device:device_updated"})
    organization_id = fields.String()
    data = fields.Dict(metadata={"example": {"profile_id": "Fixed.UWB.Anchor"}})


class DeliveredSchema(Schema):
    received = fields.Boolean()
    event = fields.String(allow_none=True, metadata={"description": "The event, where it was named."})
