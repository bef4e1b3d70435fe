"""The identities that the routes answer."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema, fields


def _text(description: str, example: str) -> fields.String:
    return fields.String(metadata={"description": description, "example": example})


class OpenApiCallerSchema(Schema):
    uuid = _text("The caller, as the platform knows it.", "2f1c5a0e-6f7e-4a55-9d0b-6c1b9a4f2e11")
    role = _text("Its role in the organization.", "HQ")
    status = _text("Whether the platform has activated it.", "Activated")


class UserSchema(OpenApiCallerSchema):
    email = fields.String(
        allow_none=True,
        metadata={"description": "The user's e-mail address.", "example": "admin@acme.example"},
    )
    origin = _text("Where the user's organization lives.", "https://acme.orbro.io")
    subdomain = _text("The organization's name there.", "acme")
    organization_id = _text("The organization.", "8a6e0804-2bd0-4672-b79d-d97027f9071a")


class ConnectAppSchema(OpenApiCallerSchema):
    id = _text("The installation that the caller acts through.", "5d8f0c86-1f5e-4f44-8b53-3a8f3c4b9d70")
    organization_id = _text("Its organization.", "8a6e0804-2bd0-4672-b79d-d97027f9071a")
    scope = _text("What it may do, as the platform wrote it.", "read write")


class UsersSchema(Schema):
    """How the platform writes a list of users is not public; this is how the simulator does."""

    class Meta:
        unknown = INCLUDE

    data = fields.List(fields.Dict(), metadata={"example": [{"email": "admin@acme.example", "role": "HQ"}]})
