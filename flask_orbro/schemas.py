"""The bodies of lifecycle calls. Unknown members are ignored, as the platform's SDK does."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, post_load, validate

from .protocol import MIN_SECRET, is_usable_secret, subdomain_label

# Swagger shows these to JavaScript, which knows no \A and \Z; in Python, "$" would let a line end through.
_identifier = validate.Regexp(
    r"^[\x21-\x7e]{1,255}$(?!\n)", error="Must be 1 to 255 visible ASCII characters."
)
_secret = validate.Regexp(
    rf"^[\x21-\x7e]{{{MIN_SECRET},255}}$(?!\n)",
    error=f"Must be {MIN_SECRET} to 255 visible ASCII characters.",
)


def _usable(value: str) -> None:
    if not is_usable_secret(value):
        raise ValidationError("Cannot sign tokens.")


def _subdomain(value: str) -> None:
    if subdomain_label(value) is None:
        raise ValidationError("Must be a single DNS label.")


class OrganizationSchema(Schema):
    """``uninstalled``, ``enabled`` and ``disabled``."""

    class Meta:
        unknown = EXCLUDE

    organization_id = fields.String(
        required=True,
        validate=_identifier,
        metadata={
            "description": "The organization's UUID.",
            "example": "8a6e0804-2bd0-4672-b79d-d97027f9071a",
        },
    )


class InstalledSchema(OrganizationSchema):
    """``installed``."""

    shared_secret = fields.String(
        required=True,
        validate=[_secret, _usable],
        metadata={
            "description": "Signs tokens between the platform and the app.",
            "example": "vK3nQ8rT1xWz5uYb7cEd0fGh2jLm4pSa",
        },
    )
    user_id = fields.String(
        allow_none=True,
        validate=_identifier,
        metadata={
            "description": "The installing user.",
            "example": "2f1c5a0e-6f7e-4a55-9d0b-6c1b9a4f2e11",
        },
    )
    subdomain = fields.String(
        allow_none=True,
        validate=_subdomain,
        metadata={"description": "The organization's subdomain.", "example": "acme"},
    )

    @post_load
    def _fold(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if data.get("subdomain") is not None:
            data["subdomain"] = subdomain_label(data["subdomain"])
        return data


class ReceivedSchema(Schema):
    """The answer to a lifecycle call: received, which is not yet believed."""

    status_code = fields.Integer(metadata={"example": 200})
    detail = fields.String(metadata={"example": "success"})


class VendorSchema(Schema):
    """``vendor`` of the descriptor."""

    name = fields.String(metadata={"example": "Example"})
    url = fields.String(metadata={"example": "https://example.com"})


class DescriptorSchema(Schema):
    """The app descriptor, for documentation: it is served as it was written."""

    class Meta:
        unknown = INCLUDE

    id = fields.String(required=True, metadata={"example": "com.example.app"})
    name = fields.String(metadata={"example": "An app"})
    description = fields.String(metadata={"example": "What it does."})
    vendor = fields.Nested(VendorSchema)
    baseUrl = fields.String(metadata={"example": "https://app.example.com"})  # noqa: N815
    lifecycle = fields.Dict(
        fields.String(),
        fields.String(),
        metadata={"description": "Paths on `baseUrl`.", "example": {"installed": "/installed"}},
    )
    scopes = fields.List(fields.String(), metadata={"example": ["read"]})
    modules = fields.Dict(metadata={"description": "Webhooks, among others.", "example": {"webhooks": []}})
    version = fields.String(metadata={"example": "1.0.0"})


class DeliverySchema(Schema):
    """A delivery. What the platform writes in it is not public; this is how the simulator does."""

    event_name = fields.Raw(metadata={"example": "device:device_updated"})
    organization_id = fields.Raw(metadata={"example": "5f0d3c1a-0000-4000-8000-000000000001"})
    data = fields.Raw(metadata={"example": {"profile_id": "Fixed.UWB.Anchor"}})


class KeptSchema(Schema):
    """The answer to a delivery: it is in the inbox, which is not yet handled."""

    id = fields.Integer(metadata={"description": "Of its row in the inbox.", "example": 1})
    state = fields.String(
        validate=validate.OneOf(["received", "done", "duplicate"]), metadata={"example": "received"}
    )
