"""The app descriptor, ``connect.json``: what the platform reads to know the app."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DescriptorError

LIFECYCLE_EVENTS = ("installed", "uninstalled", "enabled", "disabled")


@dataclass(frozen=True)
class Descriptor:
    """A checked descriptor.

    :param lifecycle: path on the app by event; only the events that the document names.
    :param document: the document as it is served.
    """

    id: str
    lifecycle: Mapping[str, str]
    document: Mapping[str, Any] = field(repr=False)


def read_descriptor(path: Path) -> Descriptor:
    """Read and check a descriptor file.

    :raises DescriptorError: naming the file and the member at fault.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DescriptorError(
            f"The app descriptor {path} cannot be read: {error.strerror}. Create it, or name another "
            "file with ORBRO_DESCRIPTOR."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DescriptorError(f"The app descriptor {path} is not valid JSON: {error}.") from None
    try:
        return check_descriptor(document)
    except DescriptorError as error:
        raise DescriptorError(f"The app descriptor {path} is not valid: {error}") from None


def check_descriptor(document: Any) -> Descriptor:
    """Check a descriptor. ``id`` is required; without ``lifecycle`` no organization can be tracked.

    :raises DescriptorError: naming the member at fault.
    """
    if not isinstance(document, dict):
        raise DescriptorError("it must be a JSON object.")
    if not isinstance(document.get("id"), str) or not document["id"]:
        raise DescriptorError("'id' is required, and must be text.")
    named = document.get("lifecycle") or {}
    if not isinstance(named, dict):
        raise DescriptorError("'lifecycle' must be an object.")
    lifecycle = {name: _path(name, named[name]) for name in LIFECYCLE_EVENTS if named.get(name)}
    if len(set(lifecycle.values())) != len(lifecycle):
        raise DescriptorError("two members of 'lifecycle' name one path.")
    return Descriptor(document["id"], lifecycle, document)


def _path(name: str, value: Any) -> str:
    if (
        not isinstance(value, str)
        or not value.startswith("/")
        or value.startswith("//")
        or any(character in value for character in "?#<>\\")
        or not value.isascii()
        or not value.isprintable()
    ):
        raise DescriptorError(f"'lifecycle.{name}' must be a path such as /{name}, not {value!r}.")
    return value
