"""A post as it is written and read, and a page of them."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, pre_load, validate

from ..fields import Text, UserId
from ..pages import PageSchema


class PostSchema(Schema):
    id = fields.Integer(dump_only=True, metadata={"example": 1})
    author_id = UserId(required=True)
    title = Text(
        required=True, validate=validate.Length(1, 200), metadata={"example": "Notes by the translator"}
    )
    body = Text(
        required=True,
        validate=validate.Length(1, 10_000),
        metadata={"example": "The engine weaves algebraical patterns."},
    )

    @pre_load
    def ignore_id(self, post: dict[str, Any], **_options: Any) -> dict[str, Any]:
        """So that what was read can be sent back changed; its id is that of the path."""
        return {name: value for name, value in post.items() if name != "id"}


class PostPageSchema(PageSchema):
    items = fields.List(fields.Nested(PostSchema), required=True)
