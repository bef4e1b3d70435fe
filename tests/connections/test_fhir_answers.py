"""Strange answers of FHIR servers, and what is sent to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_orbro.connections import FhirConnection, FhirError, FhirResponse, VersionConflict
from flask_orbro.errors import (
    ConnectionFailed,
    ConnectionMisconfigured,
    ConnectionRateLimited,
    ConnectionUnavailable,
)

from .scripted import Scripted, scripted_server

PATIENT = {"resourceType": "Patient", "id": "1", "meta": {"versionId": "7"}}
Read = Callable[[], Any]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def ehr(server: Scripted) -> Iterator[FhirConnection]:
    made = FhirConnection("ehr", {"kind": "fhir", "url": f"{server.url}/fhir/R4", "timeout": 5})
    yield made
    made.close()


def outcome(*issues: Any) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": list(issues)}


def bundle(*entries: Any, following: str | None = None) -> dict[str, Any]:
    links = [] if following is None else [{"relation": "next", "url": following}]
    return {"resourceType": "Bundle", "entry": list(entries), "link": [{"relation": "self"}, *links]}


def test_fhir_s_own_media_types_are_sent(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(200, PATIENT)
    ehr.create(PATIENT)
    ehr.update(PATIENT, if_match="7")
    ehr.patch("Patient", "1", [{"op": "remove", "path": "/name"}], if_match="7")
    ehr.delete("Patient", "1", if_match="7")
    ehr.read("Patient", "1")
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/fhir/R4/Patient"),
        *((method, "/fhir/R4/Patient/1") for method in ("PUT", "PATCH", "DELETE", "GET")),
    ]
    assert {asked.headers["Accept"] for asked in server.asked} == {"application/fhir+json"}
    assert [asked.headers.get("Content-Type") for asked in server.asked] == [
        "application/fhir+json",
        "application/fhir+json",
        "application/json-patch+json",
        None,
        None,
    ]
    matches = [asked.headers.get("If-Match") for asked in server.asked]
    assert matches == [None, 'W/"7"', 'W/"7"', 'W/"7"', None]
    assert json.loads(server.asked[2].body) == [{"op": "remove", "path": "/name"}]


def test_issues_are_those_of_the_outcome(server: Scripted, ehr: FhirConnection) -> None:
    full = {
        "severity": "fatal",
        "code": "invalid",
        "details": {"text": "a text"},
        "diagnostics": "a diagnosis",
        "expression": ["Patient.name"],
    }
    server.answer(422, outcome(full, {"code": "processing", "diagnostics": "a diagnosis"}, "nonsense", {}))
    with pytest.raises(FhirError) as caught:
        ehr.read("Patient", "1")
    assert [(i.severity, i.code, i.text, i.expression) for i in caught.value.issues] == [
        ("fatal", "invalid", "a text", ("Patient.name",)),
        ("error", "processing", "a diagnosis", ()),
        ("error", "unknown", None, ()),
    ]
    assert "(invalid, processing, unknown)" in caught.value.detail


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", "text/html"),
        (b"", "text/plain"),
        ([1], "application/json"),
        ({"issue": 5}, "application/json"),
        ({"issue": [{"code": "<b>token=secret</b>", "details": 1, "expression": "x"}]}, "application/json"),
        (b"[" * 100_000, "application/json"),
    ],
)
def test_a_refusal_without_a_good_outcome_is_one_all_the_same(
    server: Scripted, ehr: FhirConnection, body: Any, kind: str
) -> None:
    server.answer(403, body, kind)
    with pytest.raises(FhirError) as caught:
        ehr.read("Patient", "1")
    assert caught.value.status == 403
    assert caught.value.detail == "The connection 'ehr' was answered 403."
    assert isinstance(caught.value.issues, tuple)


def test_a_failure_keeps_its_issues(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(500, outcome({"code": "exception", "diagnostics": "out of memory"}))
    with pytest.raises(ConnectionUnavailable) as caught:
        ehr.read("Patient", "1")
    assert isinstance(caught.value.answer, FhirResponse)
    assert caught.value.answer.issues[0].text == "out of memory"
    server._answers.clear()
    server.answer(429, outcome({"code": "throttled"}), **{"Retry-After": "7"})
    with pytest.raises(ConnectionRateLimited) as limited:
        ehr.read("Patient", "1")
    assert limited.value.retry_after == 7
    assert limited.value.answer.issues[0].code == "throttled"


@pytest.mark.parametrize("body", [b"<html>sign in</html>", [1], b'"text"'])
def test_something_else_than_a_resource_is_no_resource(
    server: Scripted, ehr: FhirConnection, body: Any
) -> None:
    server.answer(200, body)
    for ask in (lambda: ehr.read("Patient", "1"), lambda: list(ehr.search("Patient"))):
        with pytest.raises(ConnectionUnavailable):
            ask()


def test_an_answer_without_a_body_is_an_empty_dict(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(204)
    assert ehr.delete("Patient", "1") == {}


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_is_one_where_a_version_was_asked_for(
    server: Scripted, ehr: FhirConnection, status: int
) -> None:
    server.answer(status, outcome({"code": "conflict"}))
    for ask in (
        lambda: ehr.update(PATIENT, if_match="6"),
        lambda: ehr.patch("Patient", "1", [], if_match="6"),
        lambda: ehr.delete("Patient", "1", if_match="6"),
    ):
        with pytest.raises(VersionConflict):
            ask()
    with pytest.raises(FhirError) as caught:
        ehr.update(PATIENT)
    assert not isinstance(caught.value, VersionConflict)


def test_what_might_be_done_twice_is_not_sent_twice(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(503, **{"Retry-After": "0"})
    calls: dict[str, tuple[Read, int]] = {
        "read": (lambda: ehr.read("Patient", "1"), 3),
        "create": (lambda: ehr.create(PATIENT), 1),
        "create once": (lambda: ehr.create(PATIENT, if_none_exist={"identifier": "x"}), 3),
        "update": (lambda: ehr.update(PATIENT), 3),
        "update a version": (lambda: ehr.update(PATIENT, if_match="7"), 1),
        "patch": (lambda: ehr.patch("Patient", "1", []), 1),
    }
    for name, (call, times) in calls.items():
        before = len(server.asked)
        with pytest.raises(ConnectionUnavailable):
            call()
        assert (name, len(server.asked) - before) == (name, times)


def test_what_was_found_is_told_from_what_is_about_the_search(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(
        200,
        bundle(
            {"resource": PATIENT, "search": {"mode": "match"}},
            {"resource": {"resourceType": "Practitioner"}, "search": {"mode": "include"}},
            {"resource": outcome({"code": "not-supported"}), "search": {"mode": "outcome"}},
            {"fullUrl": "urn:uuid:1"},
            "nonsense",
        ),
    )
    assert [row["resourceType"] for row in ehr.search("Patient", {"_include": "x"})] == [
        "Patient",
        "Practitioner",
    ]


def test_links_are_followed_as_servers_write_them(server: Scripted, ehr: FhirConnection) -> None:
    entry = {"resource": PATIENT}
    links = [f"{server.url}/fhir/R4?_getpages=1&_offset=2", "Patient?page=3", "/elsewhere?page=4"]
    for link in links:
        server.answer(200, bundle(entry, following=link))
    server.answer(200, bundle(entry))
    assert len(list(ehr.search("Patient", {"name": ["a", "b"]}))) == 4
    assert [(asked.path, asked.query) for asked in server.asked] == [
        ("/fhir/R4/Patient", [("name", "a"), ("name", "b")]),
        ("/fhir/R4", [("_getpages", "1"), ("_offset", "2")]),
        ("/fhir/R4/Patient", [("page", "3")]),
        ("/elsewhere", [("page", "4")]),
    ]


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:1/fhir/R4/Patient?page=2",
        "https://{here}/fhir/R4/Patient?page=2",
        "http://{here}@attacker.example/Patient",
        "http://{here}.attacker.example/Patient",
        "//attacker.example/Patient",
        "ftp://{here}/Patient",
        "http://[::1",
        "http://{here}\\@attacker.example/",
        5,
    ],
)
def test_a_link_to_another_origin_is_shown_no_token(link: Any) -> None:
    with scripted_server() as server:
        config = {"TOKEN": "a-token-of-the-tests"}
        auth = {"kind": "bearer", "token": {"config": "TOKEN"}}
        ehr = FhirConnection("ehr", {"url": server.url, "auth": auth}, config=config)
        written = link.format(here=server.url.partition("//")[2]) if isinstance(link, str) else link
        server.answer(200, bundle({"resource": PATIENT}, following=written))
        found = ehr.search("Patient")
        with pytest.raises((ConnectionMisconfigured, ConnectionUnavailable)) as caught:
            list(found)
        assert len(server.asked) == 1
        assert "attacker" not in str(caught.value.data)
        ehr.close()


def test_a_search_that_never_ends_is_ended(server: Scripted, ehr: FhirConnection) -> None:
    server.answer(200, bundle({"resource": PATIENT}, following=f"{server.url}/fhir/R4/Patient?page=2"))
    with pytest.raises(ConnectionFailed, match="again"):
        list(ehr.search("Patient"))
    assert len(server.asked) == 2
