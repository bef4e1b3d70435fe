"""Decimals of FHIR resources keep their digits: read, changed, sent, copied, passed on."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B.observation import Observation
from flask import Flask

from flask_orbro import ConnectionUnavailable
from flask_orbro.connections import AsyncFhirConnection, FhirConnection

from ..peers import Oidc
from .scripted import Scripted, scripted_server
from .test_fhir import definition

DIGITS = ["1.50", "0.1234567890123456789", "-0.0", "1.0E2", "1e-7"]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def ehr(server: Scripted) -> Iterator[FhirConnection]:
    made = FhirConnection("ehr", {"kind": "fhir", "url": server.url, "timeout": 5})
    yield made
    made.close()


def observation(digits: str) -> bytes:
    return (
        '{"resourceType":"Observation","id":"1","status":"final","code":{"text":"ß"},'
        f'"valueQuantity":{{"value":{digits},"unit":"mg"}},"component":[true,null,7,"a\\"b"]}}'
    ).encode()


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("digits", DIGITS)
def test_what_is_read_is_sent_back_as_it_was_written(
    server: Scripted, ehr: FhirConnection, digits: str, form: str
) -> None:
    server.answer(200, observation(digits))

    async def there_and_back() -> None:
        connection = AsyncFhirConnection.like(ehr)
        await connection.update(await connection.read("Observation", "1"))

    if form == "sync":
        ehr.update(ehr.read("Observation", "1"))
    else:
        asyncio.run(there_and_back())
    assert server.asked[-1].body == observation(digits)


def test_a_copy_has_the_same_digits(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(200, observation("1.50"))
    read = ehr.read("Observation", "1")
    for copied in (copy.deepcopy(read), pickle.loads(pickle.dumps(read)), {**read, "id": "1"}):
        ehr.update(copied)
        assert server.asked[-1].body == observation("1.50")


def test_a_decimal_is_a_float_to_everybody_else(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(200, observation("1.50"))
    read = ehr.read("Observation", "1")
    value = read["valueQuantity"]["value"]
    assert isinstance(value, float)
    assert (value, value * 2, str(value), f"{value:.1f}") == (1.5, 3.0, "1.50", "1.5")
    with Flask("any").app_context() as context:
        assert json.loads(context.app.json.dumps(read)) == read


def test_a_decimal_of_ones_own_is_sent_with_its_digits(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(200, {"resourceType": "Basic"})
    for path in ("/Observation", "/"):
        ehr.post(path, json={"a": [Decimal("1.500"), Decimal("1E+3"), 0.5], "b": ()})
        assert server.asked[-1].body == b'{"a":[1.500,1E+3,0.5],"b":[]}'
        assert server.asked[-1].headers["Content-Type"] == "application/fhir+json"
    ehr.patch("Observation", "1", [{"op": "replace", "path": "/x", "value": Decimal("2.0")}])
    assert server.asked[-1].body == b'[{"op":"replace","path":"/x","value":2.0}]'


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("-Infinity"), float("inf"), float("nan")])
def test_what_is_no_number_of_json_is_not_sent(ehr: FhirConnection, number: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        ehr.create({"resourceType": "Observation", "valueQuantity": {"value": number}})


@pytest.mark.parametrize("what", [{1: "a"}, {"a": {1, 2}}, {"a": b""}])
def test_what_json_does_not_have_is_not_sent(ehr: FhirConnection, what: Any) -> None:
    with pytest.raises(TypeError):
        ehr.create({"resourceType": "Basic", "extension": what})


@pytest.mark.parametrize("digits", ["NaN", "-Infinity", "1e999"])
def test_what_is_no_number_of_json_is_not_read(server: Scripted, ehr: FhirConnection, digits: str) -> None:
    server.answer(200, observation(digits))
    with pytest.raises(ConnectionUnavailable, match="something else than a JSON object"):
        ehr.read("Observation", "1")


@pytest.mark.parametrize("digits", ["1.50", "0.1234567890123456789"])
def test_fhir_resources_reads_the_digits(server: Scripted, ehr: FhirConnection, digits: str) -> None:
    server.answer(200, observation(digits).partition(b',"component"')[0] + b"}")
    model = Observation.model_validate(ehr.read("Observation", "1"))
    assert str(model.valueQuantity.value) == digits


def test_a_decimal_comes_to_a_real_server(oidc: Oidc, fhir_url: str) -> None:
    connection = FhirConnection("ehr", definition(oidc, fhir_url), config={"SECRET": oidc.SECRET})
    made = connection.create(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "weight"},
            "valueQuantity": {"value": Decimal("71.25"), "unit": "kg"},
        }
    )
    read = connection.read("Observation", made["id"])
    assert Observation.model_validate(read).valueQuantity.value == Decimal("71.25")
    assert connection.update(read)["valueQuantity"]["value"] == 71.25
    connection.close()
