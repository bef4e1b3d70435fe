"""What a delivery says, and what is answered."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema, fields


class DeviceEventSchema(Schema):
    """How the platform writes a delivery is not public; this is how the simulator does."""

    class Meta:
        unknown = INCLUDE

    event_name = fields.String(metadata={"example": "device:device_updated"})
    organization_id = fields.String(metadata={"example": "8a6e0804-2bd0-4672-b79d-d97027f9071a"})
    data = fields.Dict(metadata={"example": {"profile_id": "Fixed.UWB.Anchor"}})


class DeliveredSchema(Schema):
    received = fields.Boolean(metadata={"example": True})
    event = fields.String(
        allow_none=True,
        metadata={"description": "The event, where it was named.", "example": "device:device_updated"},
    )


class ChangeSchema(Schema):
    event = fields.String(metadata={"example": "device:device_updated"})
    at = fields.Float(
        metadata={
            "description": "When it was delivered, in seconds since the epoch.",
            "example": 1790000000.5,
        }
    )
