"""What is sent to log in, and what comes back."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from ..fields import Text, UserId
from ..users.schemas import UserSchema


class CredentialsSchema(Schema):
    user_id = UserId(required=True)
    user_password = Text(
        required=True,
        load_only=True,
        validate=validate.Length(max=256),
        metadata={"format": "password", "example": "analytical engine"},
    )


class AccessSchema(Schema):
    access_token = fields.String(
        required=True,
        metadata={
            "description": "Send it as `Authorization: Bearer …`.",
            "example": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.WcPGXClpKD7Bc1C0CCDA1060E2GGlTfamrd8",
        },
    )


class LoggedInSchema(AccessSchema):
    refresh_token = fields.String(
        required=True,
        metadata={
            "description": "Only for `POST /user/refresh`, when the access token has expired.",
            "example": "eyJhbGciOiJIUzI1NiJ9.eyJ0eXBlIjoicmVmcmVzaCJ9.KmPD1nPVDFT6tQoL0KdJpXkHZ2ZfZb9Kq",
        },
    )
    user = fields.Nested(UserSchema, required=True)
