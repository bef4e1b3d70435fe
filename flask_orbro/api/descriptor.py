"""The descriptor as it is served: the file's, with what the code receives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask

from ..descriptor import Registration, app_path, compose, drift
from ..errors import DescriptorError
from ..logs import get_logger
from ..state import get_state

logger = get_logger(__name__)

#: Where :func:`webhook_required` leaves what a view is registered for.
MARK = "__orbro_webhook__"


def served_descriptor(app: Flask) -> dict[str, Any]:
    """:raises DescriptorError: file and code conflict, or a view and a handler are at one path."""
    _refuse_shadowed(app)
    return compose(get_state(app).descriptor, registrations(app))


def registrations(app: Flask) -> list[Registration]:
    """The events that the app's views and handlers receive; views first."""
    handlers = get_state(app).inbox.handlers.all()
    return [*_of_views(app), *(found for found in (handler.registration for handler in handlers) if found)]


def file_drift(app: Flask) -> list[str]:
    """Where the file is behind the code."""
    paths = {rule.rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    return drift(get_state(app).descriptor, registrations(app), paths)


def check_once(app: Flask) -> Callable[[], None]:
    """A function that compares file and code where it is called first: then the app is complete.

    Who calls is not to suffer for it: the log says it, and ``/connect.json`` answers no document.
    """
    checked = False

    def check() -> None:
        nonlocal checked
        if not checked:
            checked = True
            try:
                served_descriptor(app)
            except DescriptorError as error:
                logger.error("The app descriptor is not served: %s", error)

    return check


def _refuse_shadowed(app: Flask) -> None:
    """Of a view that was added later at a handler's path, and the handler, only one would ever be run."""
    receiving = get_state(app).inbox_resources
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if (
            rule.rule in receiving
            and "POST" in (rule.methods or ())
            and getattr(view, "view_class", None) is not receiving[rule.rule]
        ):
            handler = get_state(app).inbox.handlers.at(rule.rule)[0]
            raise DescriptorError(
                f"The view {rule.endpoint!r} is served at {rule.rule}, where {handler.place} receives."
            )


def _of_views(app: Flask) -> Iterator[Registration]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        resource = getattr(view, "view_class", None)
        methods = (getattr(resource, method.lower(), None) for method in sorted(rule.methods or ()))
        for function in dict.fromkeys([view] if resource is None else methods):
            marked = getattr(function, MARK, None)
            if marked is not None:
                event, wanted, value, place = marked
                yield Registration(event, app_path(rule.rule, f"the path of {place}"), wanted, value, place)
