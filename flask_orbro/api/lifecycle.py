"""The lifecycle blueprint and its documentation: what the platform calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify
from flask_restx import Api, Namespace, Resource, fields
from werkzeug.exceptions import HTTPException

from ..descriptor import LIFECYCLE_EVENTS
from ..errors import DescriptorError, ProblemError
from ..installs.lifecycle import Installed
from ..schemas import DescriptorSchema, InstalledSchema, OrganizationSchema, ReceivedSchema
from ..state import OrbroState, get_state
from .audit import audit
from .body import load, read_json
from .descriptor import check_once, served_descriptor
from .document import finish_document
from .inbox import document_inbox
from .once import finish_unanswered
from .problems import handle_api_error
from .swagger import AUTHORIZATIONS, PRODUCES, problems, schema_model

BLUEPRINT = "orbro"

_models = Namespace(BLUEPRINT)
_installed = schema_model(_models, "Installed", InstalledSchema)
_organization = schema_model(_models, "OrganizationCall", OrganizationSchema)
_received = schema_model(_models, "Received", ReceivedSchema)
_descriptor = schema_model(_models, "Descriptor", DescriptorSchema)
_doc = partial(_models.doc, security=[], validate=False, produces=PRODUCES)
_FAULTS = problems(400, 413, 415, 503)
_FAULTS_OF_KNOWN = problems(400, 404, 413, 415, 503)


class NullField(fields.Raw):
    """``null``, which OpenAPI 2.0 has no type for."""

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "x-nullable": True, "example": None}


class LifecycleResource(Resource):
    """A call that carries no credential: whoever it is from, a refusal is recorded."""

    def dispatch_request(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().dispatch_request(*args, **kwargs)
        except ProblemError as refusal:
            audit(refusal, None)
            raise


class InstalledResource(LifecycleResource):
    """Called by the platform when an organization installs the app, and when its secret rotates."""

    @_doc(
        "installed",
        expect=[_installed],
        responses={"200": ("Received; it counts once the platform has accepted it", _received)} | _FAULTS,
    )
    def post(self) -> Response:
        """An organization installs the app"""
        state = get_state()
        body = load(InstalledSchema(), read_json(state.config.max_body))
        state.lifecycle.installed(Installed(**body))
        return jsonify(status_code=200, detail="success")


class UninstalledResource(LifecycleResource):
    """Called by the platform when an organization removes the app."""

    @_doc(
        "uninstalled",
        expect=[_organization],
        responses={"200": ("Received; it counts once the platform refuses the secret", NullField())}
        | _FAULTS_OF_KNOWN,
    )
    def post(self) -> Response:
        """An organization removes the app"""
        state, organization_id = _named_organization()
        state.lifecycle.uninstalled(organization_id)
        return jsonify(None)


class EnabledResource(LifecycleResource):
    """Called by the platform when an organization switches the app on."""

    @_doc(
        "enabled",
        expect=[_organization],
        responses={"200": ("Received", _received)} | _FAULTS_OF_KNOWN,
    )
    def post(self) -> Response:
        """An organization switches the app on"""
        return _set_enabled(True)


class DisabledResource(LifecycleResource):
    """Called by the platform when an organization switches the app off."""

    @_doc(
        "disabled",
        expect=[_organization],
        responses={"200": ("Received", _received)} | _FAULTS_OF_KNOWN,
    )
    def post(self) -> Response:
        """An organization switches the app off"""
        return _set_enabled(False)


class DescriptorResource(Resource):
    """Read by the platform to know the app."""

    @_doc("descriptor", responses={"200": ("connect.json", _descriptor)} | problems(500))
    def get(self) -> Response:
        """The app descriptor"""
        try:
            return jsonify(served_descriptor(current_app))
        except DescriptorError as error:
            raise ProblemError(
                "The file of the descriptor and the code of the app conflict; its log says where.",
                reason="descriptor_conflict",
            ) from error


RESOURCES: dict[str, Any] = dict(
    zip(
        LIFECYCLE_EVENTS,
        (InstalledResource, UninstalledResource, EnabledResource, DisabledResource),
        strict=True,
    )
)


def register_blueprint(app: Flask, state: OrbroState) -> Blueprint:
    """Serve the descriptor and the lifecycle at the paths that the descriptor names."""
    blueprint = Blueprint(BLUEPRINT, __name__)
    for name, path in state.descriptor.lifecycle.items():
        blueprint.add_url_rule(path, name, RESOURCES[name].as_view(name))
    blueprint.add_url_rule(
        state.config.descriptor_url, "descriptor", DescriptorResource.as_view("descriptor")
    )
    for start in (check_once(app), state.sweeper.start_once, state.inbox.start_once):
        blueprint.before_app_request(start)
    blueprint.teardown_app_request(finish_unanswered)
    app.register_blueprint(blueprint)
    return blueprint


def init_api(api: Api, state: OrbroState) -> None:
    """Give a flask-restx API our security definitions, our documentation and our error shape."""
    api.authorizations = AUTHORIZATIONS | (api.authorizations or {})
    restx_handler = api.handle_error
    api.handle_error = partial(handle_api_error, restx_handler, lambda: api._own_and_child_error_handlers)
    api._should_use_fr_error_handler = partial(_is_api_s_own, api, api._should_use_fr_error_handler)
    finish_document(api)
    state.apis.append(api)
    if not _prefix(api):
        _document_lifecycle(api, state)
        document_inbox(api, state)


def _is_api_s_own(api: Api, restx_router: Callable[[], bool | None]) -> bool | None:
    """flask-restx's judgement whether an error is the API's or Flask's, where it does not fail.

    To a method that a route lacks, werkzeug says so before the route's converters have seen the value;
    flask-restx matches once more with a method that the route has, and stumbles where one refuses it.
    """
    try:
        return restx_router()
    except HTTPException:
        return bool(api.catch_all_404s)  # as for a path that no route has


def _prefix(api: Api) -> str:
    """What an API's paths begin with. Its document cannot name paths elsewhere."""
    registered = api.blueprint_setup.url_prefix if api.blueprint_setup else None
    return (registered or getattr(api.blueprint, "url_prefix", None) or "") + (api.prefix or "")


def _document_lifecycle(api: Api, state: OrbroState) -> None:
    """Document the blueprint's routes; an API that lives below a prefix cannot name them."""
    namespace = Namespace("lifecycle", "Called by the platform", path="/")
    for name, path in state.descriptor.lifecycle.items():
        namespace.add_resource(RESOURCES[name], path)
    namespace.add_resource(DescriptorResource, state.config.descriptor_url)
    # Appended rather than added: adding would serve the routes a second time.
    api.namespaces.append(namespace)
    api.models.update(_models.models)


def _set_enabled(enabled: bool) -> Response:
    state, organization_id = _named_organization()
    state.lifecycle.enabled(organization_id, enabled)
    return jsonify(status_code=200, detail="success")


def _named_organization() -> tuple[OrbroState, Any]:
    state = get_state()
    body = load(OrganizationSchema(), read_json(state.config.max_body))
    return state, body["organization_id"]
