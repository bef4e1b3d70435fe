"""What is kept in objects that a log or a traceback may show: no secret is in their ``repr``."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import flask_orbro

NAMES = re.compile("secret|token|password|credential|authorization|api_key", re.IGNORECASE)
#: Where tokens are fetched, and a keyed digest of a secret.
HARMLESS = {"ClientCredentials.token_url", "Mark.secret"}


def _dataclasses() -> Iterator[type[Any]]:
    for found in pkgutil.walk_packages(flask_orbro.__path__, "flask_orbro."):
        module = import_module(found.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if dataclasses.is_dataclass(kind) and kind.__module__ == found.name:
                yield kind


def test_no_dataclass_shows_a_secret() -> None:
    fields = [(kind, field) for kind in _dataclasses() for field in dataclasses.fields(kind)]
    secret = {
        f"{kind.__name__}.{field.name}": field.repr
        for kind, field in fields
        if NAMES.search(field.name) and re.match(r"(str|bytes|tuple\[bytes)\b", str(field.type))
    }
    assert {"Config.client_secret", "Organization.shared_secret", "Claim.shared_secret"} <= set(secret)
    assert {name for name, is_shown in secret.items() if is_shown} - HARMLESS == set()
