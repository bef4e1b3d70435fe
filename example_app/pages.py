"""Long lists, page by page."""

from __future__ import annotations

from typing import Any

from flask import request, url_for
from marshmallow import EXCLUDE, Schema, fields, validate


class PageQuerySchema(Schema):
    """Which page is asked for."""

    class Meta:
        unknown = EXCLUDE

    page = fields.Integer(
        load_default=1,
        validate=validate.Range(1, 1_000_000),
        metadata={"description": "Which page; the first is 1."},
    )
    per_page = fields.Integer(
        load_default=20,
        validate=validate.Range(1, 50),
        metadata={"description": "How many items a page has."},
    )


class LinksSchema(Schema):
    """Paths of other pages; ``prev`` and ``next`` only where there is one."""

    self = fields.String(required=True, metadata={"example": "/posts?page=2&per_page=20"})
    first = fields.String(required=True, metadata={"example": "/posts?page=1&per_page=20"})
    last = fields.String(required=True, metadata={"example": "/posts?page=3&per_page=20"})
    prev = fields.String(metadata={"example": "/posts?page=1&per_page=20"})
    next = fields.String(metadata={"example": "/posts?page=3&per_page=20"})


class PageSchema(Schema):
    """A page; subclasses add ``items``."""

    total = fields.Integer(
        required=True, metadata={"description": "How many items there are in all.", "example": 41}
    )
    page = fields.Integer(required=True, metadata={"example": 2})
    per_page = fields.Integer(required=True, metadata={"example": 20})
    links = fields.Nested(LinksSchema, required=True)


def page_query() -> tuple[int, int]:
    """``page`` and ``per_page`` of the current request."""
    query = PageQuerySchema().load(request.args.to_dict())
    return query["page"], query["per_page"]


def page_document(found: dict[str, Any], page: int, per_page: int) -> dict[str, Any]:
    """A page as :class:`PageSchema` describes it, with links to others of the same route.

    :param found: its ``items``, and the ``total`` of all pages.
    """
    last = max(1, -(-found["total"] // per_page))
    pages = {"self": page, "first": 1, "last": last}
    if page > 1:
        pages["prev"] = min(page - 1, last)
    if page < last:
        pages["next"] = page + 1
    endpoint = request.endpoint or ""
    links = {name: url_for(endpoint, page=number, per_page=per_page) for name, number in pages.items()}
    return found | {"page": page, "per_page": per_page, "links": links}
