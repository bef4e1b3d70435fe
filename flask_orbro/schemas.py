"""The bodies of lifecycle calls. Unknown members are ignored, as the platform's SDK does."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

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
        metadata={"description": "Signs tokens between the platform and the app."},
    )
    user_id = fields.String(
        allow_none=True, validate=_identifier, metadata={"description": "The installing user."}
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
