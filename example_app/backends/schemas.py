"""What the routes take and answer; the back ends' own documents pass through as they come."""

from __future__ import annotations

from marshmallow import EXCLUDE, INCLUDE, Schema, fields, validate

from ..fields import Text


class PassedOnSchema(Schema):
    """What is known of a back end's document; the rest of it passes through as well."""

    class Meta:
        unknown = INCLUDE


class WeatherSchema(PassedOnSchema):
    city = fields.String(metadata={"example": "Seoul"})
    temperature = fields.Float(metadata={"example": 21.5})
    unit = fields.String(metadata={"example": "C"})
    sky = fields.String(metadata={"example": "clear"})


class CityQuerySchema(Schema):
    class Meta:
        unknown = EXCLUDE

    city = Text(load_default="Seoul", validate=validate.Length(1, 100), metadata={"description": "A city."})


class SummaryQuerySchema(CityQuerySchema):
    patient = Text(
        load_default="example-1",
        validate=validate.Length(1, 64),
        metadata={"description": "The id of a patient."},
    )


class NoteSchema(Schema):
    id = fields.String(dump_only=True, metadata={"example": "1"})
    text = Text(required=True, validate=validate.Length(1, 10_000), metadata={"example": "Call the clinic."})


class MessageSchema(Schema):
    to = fields.Email(required=True, metadata={"example": "ada@example.com"})
    subject = Text(required=True, validate=validate.Length(1, 255), metadata={"example": "Hello"})
    text = Text(required=True, validate=validate.Length(1, 10_000), metadata={"example": "…"})


class PatientSchema(PassedOnSchema):
    resource_type = fields.String(data_key="resourceType", metadata={"example": "Patient"})
    id = fields.String(metadata={"example": "example-1"})


class SentSchema(Schema):
    sent = fields.Boolean(metadata={"example": True})


class ProfileSchema(PassedOnSchema):
    id = fields.String(metadata={"example": "87d349ed-44d7-43e1-9a83-5f2406dee5bd"})
    display_name = fields.String(data_key="displayName", metadata={"example": "Ada Lovelace"})


class MessagesSchema(PassedOnSchema):
    value = fields.List(fields.Dict(), metadata={"example": [{"subject": "Hello"}]})


class SummarySchema(Schema):
    results = fields.Dict(
        metadata={"description": "What came in time, by name.", "example": {"notes": {"items": []}}}
    )
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "Why the rest did not, by name.", "example": {}},
    )
