"""FHIR connections, with tokens of an OAuth server, against a server that other people wrote."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.patient import Patient

from flask_orbro.connections import (
    AsyncFhirConnection,
    FhirConnection,
    FhirError,
    FhirResponse,
    VersionConflict,
)
from flask_orbro.errors import InvalidRequest

from ..peers import Oidc

README = Path(__file__).parent.parent.parent / "docs" / "connections.md"


class Ehr:
    """A connection to the server, sync or async, with the same words."""

    def __init__(self, connection: FhirConnection, form: str) -> None:
        self._connection = connection
        self._form = form

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._form == "sync":
            return self._collected(getattr(self._connection, name))

        def call(*args: Any, **options: Any) -> Any:
            async def called() -> Any:
                found = getattr(AsyncFhirConnection.like(self._connection), name)(*args, **options)
                return [row async for row in found] if inspect.isasyncgen(found) else await found

            return asyncio.run(called())

        return call

    @staticmethod
    def _collected(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            found = method(*args, **options)
            return list(found) if inspect.isgenerator(found) else found

        return call


def definition(oidc: Oidc, fhir_url: str) -> dict[str, Any]:
    return {
        "kind": "fhir",
        "url": fhir_url,
        "auth": {
            "kind": "oauth2_client_credentials",
            "token_url": oidc.token_url,
            "client_id": oidc.CLIENT,
            "client_secret": {"config": "SECRET"},
            "scopes": ["patients"],
        },
    }


@pytest.fixture
def connection(oidc: Oidc, fhir_url: str) -> Iterator[FhirConnection]:
    made = FhirConnection("ehr", definition(oidc, fhir_url), config={"SECRET": oidc.SECRET})
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def ehr(request: pytest.FixtureRequest, connection: FhirConnection) -> Ehr:
    return Ehr(connection, request.param)


@pytest.fixture
def family() -> str:
    """A name that no other test uses."""
    return f"Family-{uuid.uuid4()}"


def patient(family: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family, "given": ["Ada"]}], **more}


def test_a_resource_comes_and_goes(ehr: Ehr, family: str) -> None:
    created = ehr.create(patient(family))
    assert created["id"]
    assert created["meta"]["versionId"]
    assert ehr.read("Patient", created["id"]) == created
    changed = ehr.update({**created, "gender": "female"}, if_match=created["meta"]["versionId"])
    assert changed["gender"] == "female"
    operations = [{"op": "replace", "path": "/gender", "value": "other"}]
    assert ehr.patch("Patient", created["id"], operations)["gender"] == "other"
    assert ehr.delete("Patient", created["id"])["resourceType"] == "OperationOutcome"
    with pytest.raises(FhirError) as caught:
        ehr.read("Patient", created["id"])
    assert caught.value.status == 404
    assert [(issue.severity, issue.code, issue.text) for issue in caught.value.issues] == [
        ("error", "not-found", "Not found")
    ]
    assert caught.value.detail == "The connection 'ehr' was answered 404 (not-found)."


def test_a_stale_version_is_a_conflict_and_changes_nothing(ehr: Ehr, family: str) -> None:
    created = ehr.create(patient(family))
    stale = created["meta"]["versionId"]
    current = ehr.update({**created, "gender": "female"}, if_match=stale)
    with pytest.raises(VersionConflict) as caught:
        ehr.update({**created, "gender": "male"}, if_match=stale)
    assert caught.value.status == 412
    assert caught.value.issues[0].text == "Precondition Failed"
    assert ehr.read("Patient", created["id"]) == current


def test_a_conditional_create_finds_what_is_there(ehr: Ehr, family: str) -> None:
    identifier = {"system": "urn:example:numbers", "value": f"{family} & son+"}
    once = {"identifier": f"urn:example:numbers|{family} & son+"}
    first = ehr.create(patient(family, identifier=[identifier]), if_none_exist=once)
    second = ehr.create(patient(family, identifier=[identifier]), if_none_exist=once)
    assert second == first
    ehr.create(patient(family, identifier=[identifier]))
    with pytest.raises(FhirError) as caught:
        ehr.create(patient(family), if_none_exist=once)
    assert caught.value.status == 412
    assert not isinstance(caught.value, VersionConflict)


def test_an_invalid_resource_is_an_error_with_every_issue(ehr: Ehr, family: str) -> None:
    with pytest.raises(FhirError) as caught:
        ehr.create(patient(family, gender=["female"], nickname="Countess"))
    assert caught.value.status == 400
    found = {issue.expression: (issue.severity, issue.code) for issue in caught.value.issues}
    assert found == {
        ("Patient.gender",): ("error", "structure"),
        ("Patient.nickname",): ("error", "structure"),
    }
    assert isinstance(caught.value.answer, FhirResponse)
    # What our own caller sees tells the codes alone.
    assert family not in json.dumps(caught.value.data)
    assert "nickname" not in json.dumps(caught.value.data)


def test_a_search_goes_over_all_pages(ehr: Ehr, family: str) -> None:
    created = {ehr.create(patient(family))["id"] for _ in range(7)}
    found = ehr.search("Patient", {"family": family, "_count": 3})
    assert len(found) == 7
    assert {row["id"] for row in found} == created
    assert ehr.search("Patient", {"family": f"{family}-other"}) == []
    assert {row["id"] for row in ehr.search("Patient", {"_id": ",".join(sorted(created)[:2])})} <= created


def test_a_search_asks_for_no_page_before_it_is_come_to(connection: FhirConnection, family: str) -> None:
    for _ in range(3):
        connection.create(patient(family))
    asked = []
    send = connection.request

    def counted(method: str, path: str, **options: Any) -> Any:
        asked.append(path)
        return send(method, path, **options)

    connection.request = counted  # type: ignore[method-assign]
    found = connection.search("Patient", {"family": family, "_count": 2})
    assert asked == []
    next(found)
    next(found)
    assert asked == ["/Patient"]
    next(found)
    assert len(asked) == 2


def test_capabilities(ehr: Ehr) -> None:
    statement = ehr.capabilities()
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")


def test_resources_go_through_fhir_resources_unchanged(ehr: Ehr, family: str) -> None:
    written = json.loads(
        Patient(
            name=[{"family": family, "given": ["Ada", "Lovelace"]}], birthDate="1985-12-10", active=True
        ).model_dump_json()
    )
    created = ehr.create(written)
    assert {name: created[name] for name in written} == written
    model = Patient.model_validate(created)
    # Its way to write a time is another, of the same time.
    assert {**json.loads(model.model_dump_json()), "meta": created["meta"]} == created
    model.gender = "female"
    assert ehr.update(json.loads(model.model_dump_json()))["gender"] == "female"
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": row} for row in ehr.search("Patient", {"family": family})],
    }
    assert Bundle.model_validate(bundle).entry[0].resource.birthDate.isoformat() == "1985-12-10"


def test_what_the_readme_shows_runs(connection: FhirConnection) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    [block] = [block for block in blocks if 'connections["ehr"]' in block]
    shown: dict[str, Any] = {"orbro": SimpleNamespace(connections={"ehr": connection})}
    exec(block, shown)
    assert (shown["version"], shown["names"]) == ("4.0.1", [[{"family": "Lovelace"}]])


def test_one_token_serves_all_calls_and_a_revoked_one_is_replaced(
    connection: FhirConnection, oidc: Oidc, family: str
) -> None:
    before = oidc.counts()["issued"]
    created = connection.create(patient(family))
    response = connection.get(f"/Patient/{created['id']}")
    assert oidc.counts()["issued"] == before + 1
    oidc.revoke(response.request.headers["Authorization"].removeprefix("Bearer "))
    assert connection.read("Patient", created["id"]) == created
    assert oidc.counts()["issued"] == before + 2


@pytest.mark.parametrize(
    "resource_id", ["", ".", "..", "a/b", "a?b", "a b", "ä", "a" * 65, "1\n", None, 5, "%2e%2e"]
)
def test_what_is_no_id_is_sent_nowhere(connection: FhirConnection, resource_id: Any) -> None:
    with pytest.raises(InvalidRequest):
        connection.read("Patient", resource_id)
    with pytest.raises(InvalidRequest):
        connection.update({"resourceType": "Patient", "id": resource_id})


@pytest.mark.parametrize("resource_type", ["", "patient", "Patient/1", "../metadata", None, "Pa tient"])
def test_what_is_no_type_is_sent_nowhere(connection: FhirConnection, resource_type: Any) -> None:
    with pytest.raises(InvalidRequest):
        connection.create({"resourceType": resource_type})
    with pytest.raises(InvalidRequest):
        list(connection.search(resource_type))


def test_what_is_no_version_is_sent_nowhere(connection: FhirConnection) -> None:
    with pytest.raises(InvalidRequest):
        connection.delete("Patient", "1", if_match='1", W/"2')
