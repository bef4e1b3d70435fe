"""The Swagger document: valid OpenAPI 2.0 that says who may call what, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask_restx import Api, Namespace, Resource, fields
from marshmallow import Schema
from marshmallow import fields as members
from openapi_spec_validator import OpenAPIV2SpecValidator

from flask_orbro import (
    OrbroConnect,
    any_of,
    connect_required,
    open_api_required,
    schema_model,
    user_required,
    webhook_required,
)

from ..conftest import LIFECYCLE

numbers = count()
DEFINITIONS = {"orbroUser", "orbroConnectApp", "orbroOpenApi", "orbroWebhook"}


class AddressSchema(Schema):
    street = members.String(required=True)


class PersonSchema(Schema):
    name = members.String(required=True)
    home = members.Nested(AddressSchema)


def _resource(decorate: Any, asynchronous: bool = False) -> Any:
    def get(self: Resource) -> dict[str, str]:
        """Read it."""
        return {}

    async def get_later(self: Resource) -> dict[str, str]:
        """Read it."""
        return {}

    return type(f"Thing{next(numbers)}", (Resource,), {"get": decorate(get_later if asynchronous else get)})


@pytest.fixture
def document(make_app: Callable[..., Flask]) -> dict[str, Any]:
    """The document of an API with an operation for each decorator."""
    orbro = OrbroConnect()
    app = make_app(orbro)
    api = Api(app, authorizations={"own": {"type": "basic"}})
    orbro.init_api(api)
    person = schema_model(api, "Person", PersonSchema)
    mine = api.doc(responses={"200": "Mine", "409": "Mine too"}, params={"q": "Words"})
    for path, decorate in {
        "/user": user_required,
        "/user-called": user_required(role="HQ"),
        "/connect": connect_required(scope="read"),
        "/open": open_api_required,
        "/webhook": webhook_required,
        "/any": any_of("user", "open_api"),
        "/optional": user_required(optional=True),
        "/unprotected": lambda view: view,
        "/documented": lambda view: mine(user_required(view)),
        "/documented-inside": lambda view: user_required(api.doc(responses={"409": "Mine"})(view)),
        "/created": lambda view: api.doc(responses={"201": "Made"})(user_required(view)),
        "/person": lambda view: api.expect(person)(user_required(view)),
    }.items():
        api.add_resource(_resource(decorate), path, endpoint=path[1:])
    api.add_resource(_resource(user_required, asynchronous=True), "/async", endpoint="async")
    for path, decorator in {"/outside": user_required, "/outside-called": any_of("user", "open_api")}.items():
        resource = _resource(lambda view: view)
        resource.method_decorators = [decorator]
        api.add_resource(resource, path, endpoint=path[1:])
    namespace = Namespace("whole", path="/whole", decorators=[webhook_required(deduplicate=True)])
    namespace.add_resource(_resource(lambda view: view), "/thing")
    api.add_namespace(namespace)
    response = app.test_client().get("/swagger.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json
    return found


def operation(document: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = next(v for k, v in document["paths"][path].items() if k in ("get", "post"))
    return found


def statuses(document: dict[str, Any], path: str) -> set[int]:
    return {int(status) for status in operation(document, path)["responses"]}


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["swagger"] == "2.0"
    assert list(OpenAPIV2SpecValidator(document).iter_errors()) == []


def test_there_are_four_security_definitions_and_the_apps_own(document: dict[str, Any]) -> None:
    definitions = document["securityDefinitions"]
    assert set(definitions) == DEFINITIONS | {"own"}
    for name in DEFINITIONS:
        assert (definitions[name]["in"], definitions[name]["name"]) == ("header", "Authorization")
    assert len({definitions[name]["description"] for name in DEFINITIONS}) == 4


@pytest.mark.parametrize(
    ("path", "security"),
    [
        ("/user", [{"orbroUser": []}]),
        ("/user-called", [{"orbroUser": []}]),
        ("/async", [{"orbroUser": []}]),
        ("/connect", [{"orbroConnectApp": []}]),
        ("/open", [{"orbroOpenApi": []}]),
        ("/webhook", [{"orbroWebhook": []}]),
        ("/any", [{"orbroUser": []}, {"orbroOpenApi": []}]),
        ("/optional", [{"orbroUser": []}, {}]),
        ("/documented", [{"orbroUser": []}]),
        ("/documented-inside", [{"orbroUser": []}]),
        ("/person", [{"orbroUser": []}]),
        ("/outside", [{"orbroUser": []}]),
        ("/outside-called", [{"orbroUser": []}, {"orbroOpenApi": []}]),
        ("/whole/thing", [{"orbroWebhook": []}]),
    ],
)
def test_an_operation_names_the_credentials_that_it_takes(
    document: dict[str, Any], path: str, security: list[Any]
) -> None:
    assert operation(document, path)["security"] == security


def test_an_operation_without_a_decorator_asks_for_nothing(document: dict[str, Any]) -> None:
    assert "security" not in operation(document, "/unprotected")
    assert "security" not in document
    assert statuses(document, "/unprotected") == {200}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/user", {200, 400, 401, 403, 429, 503}),
        ("/connect", {200, 400, 401, 403, 429, 503}),
        ("/open", {200, 401, 403, 429, 503}),
        ("/webhook", {200, 400, 401, 403, 413, 415, 503}),
        ("/any", {200, 400, 401, 403, 429, 503}),
        ("/outside", {200, 400, 401, 403, 429, 503}),
        ("/whole/thing", {200, 400, 401, 403, 413, 415, 503}),
        ("/documented", {200, 409, 400, 401, 403, 429, 503}),
        ("/created", {201, 400, 401, 403, 429, 503}),
    ],
)
def test_the_answers_of_a_decorator_are_documented_as_problems(
    document: dict[str, Any], path: str, expected: set[int]
) -> None:
    assert statuses(document, path) == expected
    for status in expected - {200, 201, 409}:
        answer = operation(document, path)["responses"][str(status)]
        assert answer["description"]
        assert set(answer["schema"]["required"]) == {"type", "title", "status", "detail", "code"}


def test_documentation_of_the_apps_own_is_kept(document: dict[str, Any]) -> None:
    found = operation(document, "/documented")
    assert found["responses"]["200"]["description"] == "Mine"
    assert {parameter["name"] for parameter in found["parameters"]} == {"q", "origin", "sub"}
    assert operation(document, "/documented-inside")["responses"]["409"]["description"] == "Mine"
    assert operation(document, "/user")["summary"] == "Read it"


@pytest.mark.parametrize("path", ["/user", "/connect", "/any", "/optional", "/async", "/outside"])
def test_the_organization_is_a_parameter_where_it_must_be_named(document: dict[str, Any], path: str) -> None:
    parameters = {parameter["name"]: parameter["in"] for parameter in operation(document, path)["parameters"]}
    assert parameters == {"origin": "query", "sub": "header"}


@pytest.mark.parametrize("path", ["/open", "/webhook"])
def test_the_organization_is_no_parameter_where_it_is_not_asked_for(
    document: dict[str, Any], path: str
) -> None:
    assert "parameters" not in operation(document, path)


def test_the_lifecycle_is_documented_at_the_descriptors_paths(document: dict[str, Any]) -> None:
    for path in LIFECYCLE.values():
        assert set(document["paths"][path]) & {"get", "post"} == {"post"}
        assert operation(document, path)["security"] == []
        assert {200, 400, 413, 415, 503} <= statuses(document, path)
        assert operation(document, path)["parameters"][0]["in"] == "body"
        assert operation(document, path)["tags"] == ["lifecycle"]
    assert set(document["paths"]["/connect.json"]) & {"get", "post"} == {"get"}
    install = document["definitions"]["Installed"]
    assert set(install["required"]) == {"organization_id", "shared_secret"}
    assert set(install["properties"]) == {"organization_id", "shared_secret", "user_id", "subdomain"}


def test_a_nested_schema_is_in_the_document(document: dict[str, Any]) -> None:
    assert document["definitions"]["Person"]["required"] == ["name"]
    assert document["definitions"]["Address"]["required"] == ["street"]


def test_the_lifecycle_is_served_once(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    orbro.init_api(Api(app))
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    assert [rules.count(path) for path in LIFECYCLE.values()] == [1, 1, 1, 1]


def test_an_api_below_a_blueprints_prefix_has_a_valid_document(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    blueprint = Blueprint("v2", __name__, url_prefix="/api/v2")
    api = Api(blueprint)
    namespace = Namespace("things", path="/things")
    model = namespace.model("Thing", {"name": fields.String})
    for path, decorate in {
        "/u": user_required,
        "/w": webhook_required,
        "/a": any_of("connect", "open_api"),
    }.items():
        resource = namespace.expect(model)(_resource(decorate))
        namespace.add_resource(resource, path, endpoint=path[1:])
    api.add_namespace(namespace)
    orbro.init_api(api, app)
    app.register_blueprint(blueprint)
    found = app.test_client().get("/api/v2/swagger.json").json
    assert list(OpenAPIV2SpecValidator(found).iter_errors()) == []
    assert found["basePath"] == "/api/v2"
    assert set(found["paths"]) == {"/things/u", "/things/w", "/things/a"}
    assert set(found["securityDefinitions"]) == DEFINITIONS
    # Below a prefix the lifecycle cannot be named; it is served all the same.
    assert app.test_client().post("/installed", json={}).status_code == 400


def test_two_apis_of_one_app_are_both_documented(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    api = Api(app)
    orbro.init_api(api)
    blueprint = Blueprint("v2", __name__, url_prefix="/v2")
    second = Api(blueprint)
    second.add_resource(_resource(user_required), "/thing")
    orbro.init_api(second, app)
    app.register_blueprint(blueprint)
    for path in ("/swagger.json", "/v2/swagger.json"):
        found = app.test_client().get(path).json
        assert list(OpenAPIV2SpecValidator(found).iter_errors()) == []
        assert set(found["securityDefinitions"]) == DEFINITIONS


def test_an_api_that_is_initialised_without_its_app_says_what_to_do(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    make_app(orbro)
    with pytest.raises(RuntimeError, match="app"):
        orbro.init_api(Api(Blueprint("v3", __name__)))


@pytest.mark.parametrize("registered", ["before", "after"])
def test_an_api_on_a_blueprint_without_a_prefix_documents_the_lifecycle(
    make_app: Callable[..., Flask], registered: str
) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    blueprint = Blueprint("site", __name__)
    api = Api(blueprint)
    if registered == "before":
        app.register_blueprint(blueprint)
    orbro.init_api(api, app)
    if registered == "after":
        app.register_blueprint(blueprint)
    found = app.test_client().get("/swagger.json").json
    assert list(OpenAPIV2SpecValidator(found).iter_errors()) == []
    assert {"/installed", "/uninstalled", "/enabled", "/disabled", "/connect.json"} <= set(found["paths"])
