"""A flask-restx document, finished when it is asked for: the app is complete then."""

from __future__ import annotations

from itertools import chain
from typing import Any

from flask_restx.utils import merge

from .swagger import CREDENTIALS

_SUCCESS = {"200": {"description": "Success"}}


def finish_document(api: Any) -> None:
    """Have an API's document say what its views cannot say by themselves."""
    # flask-restx offers no hook, and finds this attribute on the class alone.
    api.__class__ = type(type(api).__name__, (_Finished, type(api)), {})


class _Finished:
    """Before an ``Api``: documents ``method_decorators`` and ``decorators``, and every success."""

    @property
    def __schema__(self) -> Any:
        api: Any = self
        for namespace in api.namespaces:
            for resource, *_ in namespace.resources:
                _document_decorators(resource, chain(namespace.decorators, api.decorators))
        document = super().__schema__  # type: ignore[misc]
        for path in document.get("paths", {}).values():
            for operation in path.values():
                if isinstance(operation, dict) and "responses" in operation:
                    _name_success(operation)
        return document


def _document_decorators(resource: Any, decorators: Any) -> None:
    """Document the credentials that a Resource's methods are decorated with from outside."""
    for decorator in chain(resource.method_decorators, decorators):
        doc = getattr(decorator, CREDENTIALS, None)
        known = getattr(resource, "__apidoc__", {})
        if doc is not None and known is not False:
            methods = (method.lower() for method in resource.methods or ())
            resource.__apidoc__ = merge(
                {method: doc for method in methods if known.get(method) is not False}, known
            )


def _name_success(operation: dict[str, Any]) -> None:
    """Where errors alone are named, flask-restx leaves out the success that it names else."""
    if not any(status[0] in "23d" for status in operation["responses"]):
        operation["responses"] = _SUCCESS | operation["responses"]
