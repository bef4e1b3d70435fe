"""What the routes say."""

from __future__ import annotations

from marshmallow import Schema, fields


class GreetingSchema(Schema):
    message = fields.String(required=True, metadata={"example": "Hello, ada!"})
