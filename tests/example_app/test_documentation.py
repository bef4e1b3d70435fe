"""The Swagger document tells all there is to know, and the page around it needs nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV2SpecValidator

METHODS = {"get", "post", "put", "patch", "delete"}
#: What each operation takes.
SECURITY = {
    "POST /installed": [],
    "POST /uninstalled": [],
    "POST /enabled": [],
    "POST /disabled": [],
    "GET /connect.json": [],
    "GET /healthz": [],
    "GET /platform/me": ["orbroUser"],
    "GET /platform/users": ["orbroUser"],
    "GET /platform/app": ["orbroConnectApp"],
    "GET /platform/open": ["orbroOpenApi"],
    "POST /webhook/device": ["orbroWebhook"],
    "POST /users": [],
    "POST /user/auth": ["basic"],
    "POST /user/refresh": ["bearer"],
    "POST /user/logout": ["bearer"],
    "GET /posts": [],
    "POST /posts": ["bearer"],
    "GET /post/{id}": [],
    "PUT /post/{id}": ["bearer"],
    "DELETE /post/{id}": ["bearer"],
    "GET /tests/hello": [],
    "GET /tests/secret": ["bearer"],
    "POST /webhook/events": ["orbroWebhook"],
    "GET /webhook/changes": ["orbroUser"],
    "GET /weather": ["orbroUser"],
    "POST /notes": ["orbroUser"],
    "GET /patients/{patient_id}": ["orbroUser"],
    "GET /summary": ["orbroUser"],
    "GET /graph/profile": ["entra"],
    "GET /graph/messages": ["entra"],
    "POST /graph/messages/send": ["entra"],
}
CREDENTIALS = {"orbroUser", "orbroConnectApp", "orbroOpenApi", "orbroWebhook", "bearer", "basic", "entra"}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found = client.get("/swagger.json").json
    assert found is not None
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield f"{method.upper()} {path}", item[method]


def models(schema: Any) -> Iterator[str]:
    """The names of the models that a part of the document refers to."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.removeprefix("#/definitions/")
            yield from models(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from models(value)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV2SpecValidator(document).validate()


def test_every_operation_names_the_credentials_that_it_takes(document: dict[str, Any]) -> None:
    found = {
        name: [scheme for entry in operation["security"] for scheme in entry]
        for name, operation in operations(document)
    }
    assert found == SECURITY


def test_every_credential_is_explained_in_words_of_its_own(document: dict[str, Any]) -> None:
    definitions = document["securityDefinitions"]
    assert set(definitions) == CREDENTIALS
    assert len({definition["description"] for definition in definitions.values()}) == len(CREDENTIALS)
    assert all(len(definition["description"].split()) > 8 for definition in definitions.values())
    assert definitions["basic"]["type"] == "basic"


def test_every_operation_has_a_summary_and_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = [operation for _, operation in operations(document)]
    assert all(operation["summary"] for operation in found)
    assert len({operation["operationId"] for operation in found}) == len(found)


def test_every_answer_has_a_model_and_every_error_is_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], name
            if status == "204":
                continue
            assert answer["schema"], (name, status)
            if int(status) >= 400:
                assert {"title", "status", "detail", "code"} <= set(answer["schema"]["properties"])
                assert "application/problem+json" in operation["produces"]


def test_every_body_has_a_model(document: dict[str, Any]) -> None:
    bodies = {
        name: [part["schema"] for part in operation.get("parameters", []) if part["in"] == "body"]
        for name, operation in operations(document)
    }
    without = {name for name, schemas in bodies.items() if name.startswith(("POST", "PUT")) and not schemas}
    assert without == {"POST /user/refresh", "POST /user/logout"}
    assert all("$ref" in schema for schemas in bodies.values() for schema in schemas)


def test_every_member_of_every_model_has_an_example(document: dict[str, Any]) -> None:
    definitions = document["definitions"]
    assert set(models(document)) == set(definitions)
    without = {
        f"{name}.{member}"
        for name, definition in definitions.items()
        for member, schema in definition["properties"].items()
        if "example" not in schema and not list(models(schema))
    }
    assert without == set()


def test_every_parameter_is_explained(document: dict[str, Any]) -> None:
    shared = [part for item in document["paths"].values() for part in item.get("parameters", [])]
    own = [part for _, operation in operations(document) for part in operation.get("parameters", [])]
    assert all(part.get("description") for part in shared + own if part["in"] != "body")


def test_operations_that_need_a_credential_say_401_and_those_with_a_body_400(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document):
        statuses = set(operation["responses"])
        assert not operation["security"] or "401" in statuses, name
        if any(part["in"] == "body" for part in operation.get("parameters", [])):
            assert {"400", "413", "415"} <= statuses, name


def test_the_body_of_a_log_in_may_be_missing(document: dict[str, Any]) -> None:
    [body] = document["paths"]["/user/auth"]["post"]["parameters"]
    assert body["required"] is False


def test_the_page_and_all_that_it_loads_comes_from_the_app(client: FlaskClient) -> None:
    page = client.get("/docs").get_data(as_text=True)
    assets = re.findall(r'(?:src|href)="(?!#)([^"]+)"', page)
    assert len(assets) >= 4
    for asset in assets:
        assert asset.startswith("/swaggerui/")
        with client.get(asset) as answer:
            assert answer.status_code == 200
    assert 'url: "/swagger.json"' in page
    assert 'validatorUrl: "" || null' in page


def test_with_the_simulator_the_page_tells_where_tokens_are(
    document: dict[str, Any], settings: dict[str, Any]
) -> None:
    where = f"http://{settings['ORBRO_PLATFORM_HOST']}/simulator/tokens"
    assert where in document["info"]["description"]


def test_without_it_the_page_does_not(make_example: Callable[..., Flask]) -> None:
    app = make_example(ORBRO_PLATFORM_HOST="orbro.example", ORBRO_PLATFORM_SCHEME="https")
    found = app.test_client().get("/swagger.json").json
    assert found is not None
    assert "simulator" not in found["info"]["description"]
    assert "POST /users" in found["info"]["description"]
