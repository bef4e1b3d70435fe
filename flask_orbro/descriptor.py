"""The app descriptor, ``connect.json``: what the platform reads to know the app.

A file says who the app is; what the code receives is added to it, so that the two cannot differ unnoticed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .checks import is_loopback
from .errors import DescriptorError

LIFECYCLE_EVENTS = ("installed", "uninstalled", "enabled", "disabled")
SCHEMA = Path(__file__).with_name("connect.schema.json")
#: Characters of a path, which the inbox keeps.
_LONGEST_PATH = 255


@dataclass(frozen=True)
class Descriptor:
    """A checked descriptor.

    :param lifecycle: path on the app by event; only the events that the document names.
    :param document: the document, without what the code adds.
    :param name: of the file, for messages.
    """

    id: str
    lifecycle: Mapping[str, str]
    document: Mapping[str, Any] = field(repr=False)
    name: str = "connect.json"


@dataclass(frozen=True, eq=False)
class Registration:
    """An event that the code receives; equal to another that says the same elsewhere.

    :param path: on the app.
    :param property: deliveries are wanted where this property has that ``value``; ``None``: all.
    :param place: where in the code that is said.
    """

    event: str
    path: str
    property: str | None
    value: Any
    place: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registration) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[Any, ...]:
        return self.event, self.path, self.property, comparable(self.value)


def comparable(value: Any) -> tuple[bool, Any]:
    """A value of JSON, to be compared: ``true`` is not 1 there, as it is in Python."""
    return isinstance(value, bool), value


def read_descriptor(path: Path, base_url: str | None = None) -> Descriptor:
    """Read and check a descriptor file. Where it names no ``lifecycle``, the usual paths are taken.

    :param base_url: in place of the file's ``baseUrl``.
    :raises DescriptorError: naming the file and the member at fault; its notes are all :func:`faults`.
    """
    try:
        document = json.loads(path.read_bytes(), parse_constant=_no_number, parse_float=_number)
    except OSError as error:
        raise DescriptorError(
            f"The app descriptor {path} cannot be read: {error.strerror}. Create it, or name another "
            "file with ORBRO_DESCRIPTOR."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DescriptorError(f"The app descriptor {path} is not valid JSON: {error}.") from None
    if isinstance(document, dict):
        document.setdefault("lifecycle", {name: f"/{name}" for name in LIFECYCLE_EVENTS})
        _move(document, base_url)
    try:
        return check_descriptor(document, str(path))
    except DescriptorError as error:
        invalid = DescriptorError(f"The app descriptor {path} is not valid: {error}")
        for fault in faults(document):
            invalid.add_note(fault)
        raise invalid from None


def _move(document: dict[str, Any], base_url: str | None) -> None:
    """Put another ``baseUrl`` into a document; its webhooks on the one before move along."""
    before = document.get("baseUrl")
    if base_url is None:
        return
    document["baseUrl"] = base_url
    for _, entry in _webhooks_of(document):
        if isinstance(entry.get("callback_api"), str):
            entry["callback_api"] = _path_below(before, entry["callback_api"])


def base_url_fault(descriptor: Descriptor) -> str | None:
    """What keeps the platform from calling the app, or from doing so safely; as :func:`faults` says it."""
    base = descriptor.document.get("baseUrl")
    try:
        url = urlsplit(base if isinstance(base, str) else "")
        loopback = is_loopback(url.hostname or "")
    except ValueError:
        return None  # the schema says so
    if loopback:
        return f"$.baseUrl: {base} is this machine alone: set ORBRO_BASE_URL to the app's public URL"
    if url.scheme == "http":
        return f"$.baseUrl: {base} is not https: secrets and tokens would travel in clear"
    return None


def check_descriptor(document: Any, name: str = "connect.json") -> Descriptor:
    """Check a descriptor as far as the app needs it; :func:`faults` finds the rest.

    ``id`` is required; without ``lifecycle`` no organization can be tracked.

    :raises DescriptorError: naming the member at fault.
    """
    if not isinstance(document, dict):
        raise DescriptorError("it must be a JSON object.")
    if not isinstance(document.get("id"), str) or not document["id"]:
        raise DescriptorError("'id' is required, and must be text.")
    named = document.get("lifecycle") or {}
    if not isinstance(named, dict):
        raise DescriptorError("'lifecycle' must be an object.")
    lifecycle = {
        event: app_path(named[event], f"'lifecycle.{event}'")
        for event in LIFECYCLE_EVENTS
        if named.get(event)
    }
    if len(set(lifecycle.values())) != len(lifecycle):
        raise DescriptorError("two members of 'lifecycle' name one path.")
    _check_webhooks(document)
    return Descriptor(document["id"], lifecycle, document, name)


def _check_webhooks(document: Mapping[str, Any]) -> None:
    """What the code receives is added to them, so they must have the shape of what can be added to."""
    modules = document.get("modules") or {}
    if not isinstance(modules, dict):
        raise DescriptorError("'modules' must be an object.")
    webhooks = modules.get("webhooks") or []
    if not isinstance(webhooks, list):
        raise DescriptorError("'modules.webhooks' must be an array.")
    for index, entry in enumerate(webhooks):
        if not isinstance(entry, dict):
            raise DescriptorError(f"'modules.webhooks[{index}]' must be an object, not {entry!r}.")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def app_path(value: Any, what: str) -> str:
    """A plain path on the app.

    :param what: names it in the message.
    :raises DescriptorError: it is none.
    """
    if (
        not isinstance(value, str)
        or not value.startswith("/")
        or value.startswith("//")
        or any(character in value for character in "?#<>\\")
        or not value.isascii()
        or not value.isprintable()
        or len(value) > _LONGEST_PATH
    ):
        raise DescriptorError(f"{what} must be a path such as /webhook/events, not {value!r}.")
    return value


def compose(descriptor: Descriptor, registrations: Iterable[Registration]) -> dict[str, Any]:
    """The document as it is served: the file's, and the webhooks of the code, with absolute URLs.

    :raises DescriptorError: file and code conflict; it names both places.
    """
    registered = list(dict.fromkeys(registrations))
    base = descriptor.document.get("baseUrl")
    entries = _file_webhooks(descriptor)
    _refuse_conflicts([(place, read) for place, read, _ in entries], registered)
    in_file = {read for _, read, _ in entries}
    hooks = [entry | {"callback_api": _url(base, entry.get("callback_api"))} for _, _, entry in entries]
    hooks += [_written(item, base) for item in registered if item not in in_file]
    if not hooks:
        return dict(descriptor.document)
    modules = {**(descriptor.document.get("modules") or {}), "webhooks": hooks}
    return {**descriptor.document, "modules": modules}


def drift(descriptor: Descriptor, registrations: Iterable[Registration], served: set[str]) -> list[str]:
    """Where the file is behind the code, in sentences.

    :param served: the paths that the app answers.
    """
    entries = _file_webhooks(descriptor)
    known = {read for _, read, _ in entries}
    said = [
        f"{descriptor.name} lacks the webhook {item.event} at {item.path} of {item.place}."
        for item in dict.fromkeys(registrations)
        if item not in known
    ]
    said += [
        f"{place} names {entry.path}, which no route answers."
        for place, entry, _ in entries
        if entry.path not in served
    ]
    return said


def faults(document: Any) -> list[str]:
    """Every fault that the JSON Schema finds, each with its path: ``$.modules.webhooks[0]: …``."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    found = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    return [f"{error.json_path}: {error.message}" for error in found]


def _file_webhooks(descriptor: Descriptor) -> list[tuple[str, Registration, dict[str, Any]]]:
    """The webhooks of the file: where each stands, what it says, and how."""
    base = descriptor.document.get("baseUrl")
    return [
        (f"{descriptor.name}: modules.webhooks[{index}]", _read_webhook(entry, base), entry)
        for index, entry in _webhooks_of(descriptor.document)
    ]


def _webhooks_of(document: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The webhooks that a document lists, each with its place there."""
    modules = document.get("modules")
    hooks = modules.get("webhooks") if isinstance(modules, dict) else None
    listed = hooks if isinstance(hooks, list) else []
    return [(index, hook) for index, hook in enumerate(listed) if isinstance(hook, dict)]


def _path_below(base: Any, url: str) -> str:
    """The path of a URL on a base; as it stands where it is elsewhere."""
    prefix = base.rstrip("/") if isinstance(base, str) else ""
    return url.removeprefix(prefix) if url.startswith(f"{prefix}/") else url


def _read_webhook(entry: Mapping[str, Any], base: Any) -> Registration:
    path = _path_below(base, str(entry.get("callback_api")))
    value = entry.get("value")
    # Whatever stands in the file must be comparable, and is shown as it stands.
    value = value if isinstance(value, str | int | float | None) else json.dumps(value)
    wanted = entry.get("property")
    return Registration(str(entry.get("event_name")), path, wanted and str(wanted), value, "")


def _refuse_conflicts(entries: list[tuple[str, Registration]], registered: list[Registration]) -> None:
    """Both may say more than the other; of one event neither may say something else."""
    in_file = {entry for _, entry in entries}
    for item in registered:
        for place, entry in entries:
            same_filter = item == replace(entry, path=item.path)
            if (
                item not in in_file
                and entry not in registered
                and item.event == entry.event
                and (item.path == entry.path or same_filter)
            ):
                raise DescriptorError(
                    f"{place} conflicts with {item.place}: {entry.event} is {_shown(entry)} there, and "
                    f"{_shown(item)} here. Change one of them, or take it out of the file."
                )


def _shown(item: Registration) -> str:
    wanted = f" where {item.property} is {item.value!r}" if item.property else ""
    return f"at {item.path}{wanted}"


def _written(item: Registration, base: Any) -> dict[str, Any]:
    written = {"event_name": item.event, "callback_api": _url(base, item.path)}
    return written if item.property is None else written | {"property": item.property, "value": item.value}


def _url(base: Any, callback: Any) -> Any:
    """The callback on ``baseUrl``; as it stands where it is no path, or there is no base."""
    if not isinstance(base, str) or not isinstance(callback, str) or not callback.startswith("/"):
        return callback
    return base.rstrip("/") + callback
