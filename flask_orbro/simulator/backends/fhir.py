"""A few patients, to be read as FHIR R4; no search, and no writing."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response

from ..errors import PlatformRefusal
from .tokens import need_scope

fhir = Blueprint("fhir", __name__, url_prefix="/fhir")

_VERSION = {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"}
#: By type and id. Nobody of that name is meant.
_RESOURCES: dict[tuple[str, str], dict[str, Any]] = {
    ("Patient", patient_id): {
        "resourceType": "Patient",
        "id": patient_id,
        "meta": _VERSION,
        "active": True,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "gender": gender,
        "birthDate": born,
    }
    for patient_id, given, family, gender, born in (
        ("example-1", "Ada", "Example", "female", "1985-12-10"),
        ("example-2", "Min-jun", "Sample", "male", "2001-03-01"),
    )
}
_CAPABILITIES = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "date": "2026-01-01",
    "kind": "instance",
    "implementation": {"description": "A stand-in of the simulator"},
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "rest": [
        {"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}]}]},
    ],
}
_CODES = {401: "login", 403: "forbidden", 404: "not-found"}


@fhir.get("/metadata")
def capabilities() -> Response:
    """What this server can do."""
    return _answer(_CAPABILITIES)


@fhir.get("/<resource_type>/<resource_id>")
def read(resource_type: str, resource_id: str) -> Response:
    """One resource."""
    need_scope("patients")
    found = _RESOURCES.get((resource_type, resource_id))
    return _outcome(404, "There is no such resource.") if found is None else _answer(found)


@fhir.errorhandler(PlatformRefusal)
def _refused(refusal: PlatformRefusal) -> Response:
    return _outcome(refusal.status, refusal.message)


def _outcome(status: int, text: str) -> Response:
    issue = {"severity": "error", "code": _CODES.get(status, "processing"), "details": {"text": text}}
    return _answer({"resourceType": "OperationOutcome", "issue": [issue]}, status)


def _answer(resource: dict[str, Any], status: int = 200) -> Response:
    response = Response(json.dumps(resource), status, content_type="application/fhir+json")
    if "meta" in resource:
        response.headers["ETag"] = f'W/"{resource["meta"]["versionId"]}"'
    return response
