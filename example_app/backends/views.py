"""Weather by an API key, notes and patients by OAuth. The app's credentials serve its users alone."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_restx import Namespace, Resource

from flask_orbro import (
    ConnectionRefused,
    ProblemError,
    answers_problems,
    load_body,
    schema_model,
    schema_params,
    user_required,
)

from ..errors import NotFound
from ..extensions import orbro
from .schemas import (
    CityQuerySchema,
    NoteSchema,
    PatientSchema,
    SummaryQuerySchema,
    SummarySchema,
    WeatherSchema,
)

backends = Namespace("backends", "Other back ends, for users of the platform", path="/")

_weather = schema_model(backends, "Weather", WeatherSchema)
_note = schema_model(backends, "Note", NoteSchema)
_summary = schema_model(backends, "Summary", SummarySchema)

_patient = schema_model(backends, "Patient", PatientSchema)

#: How long the summary waits for all that it gathers (seconds).
PATIENCE = 5.0


def weather(city: str) -> Any:
    """The weather of a city, as the back end tells."""
    found = orbro.connections["weather"].get("/weather", params={"city": city})
    return found.raise_for_status().json_object()


@backends.route("/weather")
class Weather(Resource):
    @backends.doc(params=schema_params(CityQuerySchema))
    @backends.response(200, "The weather", _weather)
    @answers_problems(400, 502, words={404: "The weather of this city is not known"})
    @user_required
    def get(self) -> Any:
        """The weather of a city"""
        try:
            return weather(CityQuerySchema().load(request.args)["city"])
        except ConnectionRefused as error:
            raise _not_found(error, "The weather of this city is not known.") from error


@backends.route("/notes")
class Notes(Resource):
    @backends.expect(_note)
    @backends.response(201, "The note", _note)
    @answers_problems(400, 413, 415, 502)
    @user_required
    def post(self) -> Any:
        """Write a note down"""
        note = load_body(NoteSchema())
        kept = orbro.connections["notes"].post("/notes", json=note).raise_for_status()
        return NoteSchema().dump(kept.json_object()), 201


@backends.route("/patients/<patient_id>")
@backends.doc(params={"patient_id": "The patient's `id`"})
class Patient(Resource):
    @backends.response(200, "The patient, as a FHIR R4 resource", _patient)
    @answers_problems(502, words={404: "There is no such patient"})
    @user_required
    def get(self, patient_id: str) -> Any:
        """A patient"""
        try:
            return orbro.connections["ehr"].read("Patient", patient_id)
        except ConnectionRefused as error:
            raise _not_found(error, "There is no such patient.") from error


@backends.route("/summary")
class Summary(Resource):
    @backends.doc(params=schema_params(SummaryQuerySchema))
    @backends.response(200, "What came in time", _summary)
    @answers_problems(400)
    @user_required
    def get(self) -> Any:
        """Weather, a patient and all notes at once; what fails is left out"""
        query = SummaryQuerySchema().load(request.args)
        gathered = orbro.gather(
            timeout=PATIENCE,
            weather=lambda: weather(query["city"]),
            patient=lambda: orbro.connections["ehr"].read("Patient", query["patient"]),
            notes=lambda: orbro.connections["notes"].get("/notes").raise_for_status().json_object(),
        )
        return {"results": dict(gathered), "errors": _reasons(gathered.errors)}


def _reasons(errors: dict[str, Exception]) -> dict[str, str]:
    for error in errors.values():
        if not isinstance(error, ProblemError):
            raise error  # of our own making, not of a back end's
    return {name: error.reason for name, error in errors.items() if isinstance(error, ProblemError)}


def _not_found(error: ConnectionRefused, words: str) -> ProblemError:
    """What a caller is told: that it is not there, where it is not."""
    return NotFound(words) if error.status in (404, 410) else error
