"""``load_body``, ``schema_params`` and ``answers_problems``: what views of one's own are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask_restx import Api, Resource
from marshmallow import EXCLUDE, Schema, fields, validate
from openapi_spec_validator import OpenAPIV2SpecValidator

from flask_orbro import OrbroConnect, answers_problems, load_body, schema_params

from ..world import KINDS, add_view, is_problem, make_view


class PersonSchema(Schema):
    name = fields.String(required=True, validate=validate.Length(1, 20))
    password = fields.String(load_only=True, validate=validate.Length(20))


class QuerySchema(Schema):
    class Meta:
        unknown = EXCLUDE

    page = fields.Integer(load_default=1, validate=validate.Range(1, 9), metadata={"description": "Which."})


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, make_app: Callable[..., Flask], testing: bool) -> Any:
    orbro = OrbroConnect()
    app = make_app(orbro, TESTING=testing)
    api = Api(app, doc=False) if "resource" in request.param else None
    if api is not None:
        orbro.init_api(api)
    view = make_view(request.param, lambda view: app.ensure_sync(view), lambda: load_body(PersonSchema()))
    add_view(app, api, request.param, "/webhook/person", view)
    return app.test_client()


@pytest.fixture(params=[True, False])
def testing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_body_is_loaded(client: Any) -> None:
    assert client.post("/webhook/person", json={"name": "Ada"}).json == {"name": "Ada"}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("{", "application/json", 400, "json_malformed"),
        ("[" * 50_000, "application/json", 400, "json_malformed"),
        ("[]", "application/json", 400, "body_not_an_object"),
        ('{"name": ""}', "application/json", 400, "body_invalid"),
        ('{"name": "Ada"}', "text/plain", 415, "unsupported_media_type"),
        ('{"name": "' + "x" * 2_000_000 + '"}', "application/json", 413, "content_too_large"),
    ],
)
def test_a_bad_body_is_a_problem(client: Any, body: str, content_type: str, status: int, code: str) -> None:
    answer = client.post("/webhook/person", data=body, content_type=content_type)
    assert is_problem(answer, status)["code"] == code


def test_a_refusal_names_the_members_and_shows_no_value(client: Any) -> None:
    answer = client.post("/webhook/person", json={"name": "Ada", "password": "hunter2"})
    assert set(is_problem(answer, 400)["errors"]) == {"password"}
    assert "hunter2" not in answer.get_data(as_text=True)


def test_the_document_has_the_query_and_the_problems(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    api = Api(app)
    orbro.init_api(api)

    @api.route("/people")
    class People(Resource):
        @api.doc(params=schema_params(QuerySchema))
        @api.response(200, "People")
        @answers_problems(400, 404, words={404: "Nobody", 409: "Too many"})
        def get(self) -> Any:
            """List people"""

    document = app.test_client().get("/swagger.json").json
    assert document is not None
    assert list(OpenAPIV2SpecValidator(document).iter_errors()) == []
    operation = document["paths"]["/people"]["get"]
    page = {"name": "page", "in": "query", "type": "integer", "default": 1, "minimum": 1, "maximum": 9}
    assert operation["parameters"] == [page | {"required": False, "description": "Which."}]
    descriptions = {status: answer["description"] for status, answer in operation["responses"].items()}
    assert descriptions.pop("400")
    assert descriptions == {"200": "People", "404": "Nobody", "409": "Too many"}
    assert operation["produces"] == ["application/json", "application/problem+json"]
    examples = {
        status: {
            name: member.get("example")
            for name, member in operation["responses"][status]["schema"]["properties"].items()
        }
        for status in ("400", "404", "409")
    }
    assert examples["404"] == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Nobody.",
        "code": "not_found",
        "errors": None,
    }
    assert [example["code"] for example in examples.values()] == ["invalid_request", "not_found", "conflict"]
