"""The inbox's own paths: where deliveries are kept for the handlers of ``orbro.on``."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Flask, Response
from flask_restx import Api, Namespace, Resource

from ..context import get_caller
from ..decorators import webhook_required
from ..errors import ConfigurationError
from ..schemas import DeliverySchema, KeptSchema
from ..state import OrbroState, get_state
from ..webhooks import Handler
from .descriptor import served_descriptor
from .once import acknowledgement, sent
from .swagger import schema_model

_models = Namespace("inbox")
_delivery = schema_model(_models, "Delivery", DeliverySchema)
_kept = schema_model(_models, "KeptDelivery", KeptSchema)
_doc = partial(_models.doc, validate=False)


def add_handlers(app: Flask, *handlers: Handler) -> None:
    """Register handlers with an app, and serve their paths.

    :raises ConfigurationError: a path is taken, or file and code conflict.
    """
    state = get_state(app)
    for handler in handlers:
        if handler.path not in state.inbox.handlers:
            _refuse_taken_path(app, handler)
        is_new = state.inbox.handlers.add(handler.resolved(state.config))
        if is_new:
            _serve(app, state, handler.path)
    served_descriptor(app)  # for what it raises
    for path in {handler.path for handler in handlers}:
        _describe(state, path)


def document_inbox(api: Api, state: OrbroState) -> None:
    """Document the inbox's paths, those included that are added later."""
    namespace = Namespace("inbox", "Kept first, acknowledged, and handled afterwards", path="/")
    for path, resource in state.inbox_resources.items():
        namespace.add_resource(resource, path)
    state.inbox_namespaces.append(namespace)
    # Appended rather than added: adding would serve the routes a second time.
    api.namespaces.append(namespace)
    api.models.update(_models.models)


def _serve(app: Flask, state: OrbroState, path: str) -> None:
    endpoint = f"orbro_inbox_{len(state.inbox_resources)}"

    @_doc(endpoint, expect=[_delivery], responses={"202": ("Kept, or known already", _kept)})
    @webhook_required
    def post(self: Resource) -> Response:
        delivery = get_caller().delivery
        assert delivery is not None  # webhook_required let it in
        return acknowledgement(state.inbox.receive(delivery, sent()))

    resource: Any = type("InboxResource", (Resource,), {"post": post})
    app.add_url_rule(path, endpoint, resource.as_view(endpoint))
    state.inbox_resources[path] = resource
    for namespace in state.inbox_namespaces:
        namespace.add_resource(resource, path)


def _describe(state: OrbroState, path: str) -> None:
    events = dict.fromkeys(handler.event for handler in state.inbox.handlers.at(path))
    state.inbox_resources[path].post.__doc__ = f"Receives {', '.join(events)}"


def _refuse_taken_path(app: Flask, handler: Handler) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule == handler.path and "POST" in (rule.methods or ()):
            raise ConfigurationError(
                f"{handler.place} wants deliveries at {handler.path}, where {rule.endpoint!r} is served."
            )
