"""HL7 FHIR R4 (https://hl7.org/fhir/R4/http.html): resources are plain dicts, and answers have issues."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlencode, urljoin

import httpx2

from ..errors import (
    ConnectionFailed,
    ConnectionMisconfigured,
    ConnectionRefused,
    ConnectionUnavailable,
    InvalidRequest,
)
from ..http.calling import Call
from .connection import AsyncConnection, Connection
from .decimals import WrittenDecimal, refuse, write
from .response import ConnectionResponse

Resource = dict[str, Any]
#: A resource, or an awaitable one.
R = TypeVar("R")

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"

_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}")
# Dots alone would be another path.
_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9.-]{1,64}")
_CODE = re.compile(r"[a-z-]{1,32}")


@dataclass(frozen=True)
class Issue:
    """One issue of an ``OperationOutcome``.

    :param severity: ``fatal``, ``error``, ``warning`` or ``information``.
    :param code: the kind of issue, such as ``invalid`` or ``not-found``.
    :param text: what the server says about it.
    :param expression: FHIRPaths of the elements that are meant.
    """

    severity: str
    code: str
    text: str | None
    expression: tuple[str, ...]


class FhirError(ConnectionRefused):
    """The server answered 4xx; ``issues`` tells why, where it does."""

    default_reason = "fhir_refused"

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Those of the ``OperationOutcome``."""
        found: tuple[Issue, ...] = self.answer.issues
        return found


class VersionConflict(FhirError):
    """The resource is another version than ``If-Match`` said: read it anew."""

    default_reason = "fhir_version_conflict"


class FhirResponse(ConnectionResponse):
    """What a FHIR server answered; it is also the ``answer`` of every error."""

    def json(self, **options: Any) -> Any:
        """The body, parsed; decimals know how they were written."""
        return super().json(**{"parse_float": WrittenDecimal, "parse_constant": refuse, **options})

    @property
    def issues(self) -> tuple[Issue, ...]:
        """The issues of the ``OperationOutcome``; none where it is something else."""
        try:
            outcome = self.json() if self.is_stream_consumed else None
        except (ValueError, RecursionError):
            return ()
        found = outcome.get("issue") if isinstance(outcome, dict) else None
        return tuple(_issue(issue) for issue in _list(found) if isinstance(issue, dict))

    def resource(self) -> Resource:
        """The resource, or an empty dict where the server sends none.

        :raises ConnectionFailed: a status of 400 or more, or something else than a resource.
        """
        self.raise_for_status()
        return self.json_object() if self.content else {}

    def as_error(self) -> ConnectionFailed:
        error = super().as_error()
        if not isinstance(error, ConnectionRefused):
            return error
        stale = error.status in (409, 412) and "If-Match" in self.request.headers
        codes = ", ".join(issue.code for issue in self.issues if _CODE.fullmatch(issue.code))
        return (VersionConflict if stale else FhirError)(
            f"The connection '{self.connection}' was answered {error.status}{codes and f' ({codes})'}.",
            connection=self.connection,
            status=error.status,
            answer=self,
        )


class _OnFhir(Generic[R]):
    """The interactions. ``patch`` and ``delete`` are FHIR's; ``request`` sends anything else."""

    kind: ClassVar[str] = "fhir"
    response_class: ClassVar[type[ConnectionResponse]] = FhirResponse

    def read(self, resource_type: str, resource_id: str) -> R:
        """The resource.

        :raises FhirError: it is not there (404) or no more (410).
        """
        return self._send("GET", _path(resource_type, resource_id))

    def create(self, resource: Mapping[str, Any], *, if_none_exist: Mapping[str, Any] | None = None) -> R:
        """The resource as the server keeps it, with its id and version.

        :param if_none_exist: search parameters; where one resource is found by them, that one is given
            and nothing is created.
        :raises FhirError: it is not valid, or more than one was found (412).
        """
        headers = {"Content-Type": FHIR_JSON, "Prefer": "return=representation"}
        if if_none_exist is not None:
            headers["If-None-Exist"] = urlencode(if_none_exist, doseq=True)
        path = _path(resource.get("resourceType"))
        # Then it may be sent twice: what the first has created, the second finds.
        retry = None if if_none_exist is None else True
        return self._send("POST", path, json=resource, headers=headers, retry=retry)

    def update(self, resource: Mapping[str, Any], *, if_match: str | None = None) -> R:
        """The resource as the server keeps it, with its new version.

        :param if_match: the ``meta.versionId`` that it must still have.
        :raises VersionConflict: it has another one.
        """
        headers = {"Content-Type": FHIR_JSON, "Prefer": "return=representation"}
        path = _path(resource.get("resourceType"), resource.get("id"))
        return self._send("PUT", path, json=resource, **_matching(if_match, headers))

    def patch(
        self,
        resource_type: str,
        resource_id: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        if_match: str | None = None,
    ) -> R:
        """The resource after the operations of a JSON Patch (RFC 6902).

        :param if_match: as for :meth:`update`.
        """
        headers = {"Content-Type": JSON_PATCH, "Prefer": "return=representation"}
        path = _path(resource_type, resource_id)
        return self._send("PATCH", path, json=list(operations), **_matching(if_match, headers))

    def delete(self, resource_type: str, resource_id: str, *, if_match: str | None = None) -> R:
        """What the server says of it: an ``OperationOutcome``, or an empty dict.

        :param if_match: as for :meth:`update`.
        """
        return self._send("DELETE", _path(resource_type, resource_id), **_matching(if_match, {}))

    def capabilities(self) -> R:
        """The server's ``CapabilityStatement``."""
        return self._send("GET", "/metadata")

    def _send(self, method: str, path: str, **options: Any) -> R:
        raise NotImplementedError

    def _prepare(self, method: str, path: str, options: dict[str, Any]) -> Call:
        headers = httpx2.Headers(options.get("headers"))
        headers.setdefault("Accept", FHIR_JSON)
        if (document := options.pop("json", None)) is not None:
            headers.setdefault("Content-Type", FHIR_JSON)
            options["content"] = write(document).encode()
        options["headers"] = headers
        call: Call = super()._prepare(method, path, options)  # type: ignore[misc]
        return call


class FhirConnection(_OnFhir[Resource], Connection):  # type: ignore[misc]
    """Calls a FHIR server: ``orbro.connections["ehr"].read("Patient", "1")``."""

    def search(self, resource_type: str, params: Mapping[str, Any] | None = None) -> Iterator[Resource]:
        """The resources that are found, and those that are included, page by page.

        A page is asked for when it is come to: who stops early asks for no more.

        :param params: search parameters; a list is sent as several.
        :raises ConnectionMisconfigured: the next page is at another origin, which is shown no token.
        """
        pages = _Pages(self, _path(resource_type))
        question = {"params": params}
        while pages.path is not None:
            yield from pages.turn(self._send("GET", pages.path, **question))
            question = {}

    def _send(self, method: str, path: str, **options: Any) -> Resource:
        return _resource(self.request(method, path, **options))


class AsyncFhirConnection(_OnFhir[Awaitable[Resource]], AsyncConnection):  # type: ignore[misc]
    """As :class:`FhirConnection`, to be awaited."""

    async def search(
        self, resource_type: str, params: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Resource]:
        """As :meth:`FhirConnection.search`, for ``async for``."""
        pages = _Pages(self, _path(resource_type))
        question = {"params": params}
        while pages.path is not None:
            for resource in pages.turn(await self._send("GET", pages.path, **question)):
                yield resource
            question = {}

    async def _send(self, method: str, path: str, **options: Any) -> Resource:
        return _resource(await self.request(method, path, **options))


class _Pages:
    """Turns the pages of one search.

    :param path: of the next page; ``None`` after the last.
    """

    def __init__(self, connection: FhirConnection | AsyncFhirConnection, path: str) -> None:
        self._connection = connection
        self._turned: set[str] = set()
        self.path: str | None = path

    def turn(self, page: Resource) -> list[Resource]:
        """The resources of a page. Outcomes among them are about the search, and left out."""
        if page.get("resourceType") != "Bundle":
            raise self._fault("a search with something else than a Bundle")
        links = [link for link in _list(page.get("link")) if isinstance(link, dict)]
        following = [link.get("url") for link in links if link.get("relation") == "next"]
        self.path = self._url(following[0]) if following else None
        entries = [entry for entry in _list(page.get("entry")) if isinstance(entry, dict)]
        found = [entry.get("resource") for entry in entries if _mode(entry) != "outcome"]
        return [resource for resource in found if isinstance(resource, dict)]

    def _url(self, link: Any) -> str:
        if not isinstance(link, str):
            raise self._fault("a next page without its URL")
        base = self._connection.origin
        try:
            url = urljoin(f"{base}/", link)
            self._connection._url(url)
        except ValueError:
            name = self._connection.name
            raise ConnectionMisconfigured(
                f"The connection '{name}' has its next page at another origin than {base}.", connection=name
            ) from None
        if url in self._turned:
            raise self._fault("the same page of a search again")
        self._turned.add(url)
        return url

    def _fault(self, what: str) -> ConnectionUnavailable:
        name = self._connection.name
        return ConnectionUnavailable(f"The connection '{name}' was answered {what}.", connection=name)


def _resource(response: ConnectionResponse) -> Resource:
    assert isinstance(response, FhirResponse)
    return response.resource()


def _path(resource_type: Any, *resource_id: Any) -> str:
    """:raises InvalidRequest: what is no type or no id, and may be a caller's, is sent nowhere."""
    if not isinstance(resource_type, str) or not _TYPE.fullmatch(resource_type):
        raise InvalidRequest("This is not a type of FHIR resources.", reason="fhir_type_invalid")
    if all(isinstance(given, str) and _ID.fullmatch(given) for given in resource_id):
        return "/".join(("", resource_type, *resource_id))
    raise InvalidRequest(
        "A FHIR id is 1 to 64 of the letters A to Z and a to z, digits, '-' and '.'.",
        reason="fhir_id_invalid",
    )


def _matching(version: str | None, headers: dict[str, str]) -> dict[str, Any]:
    if version is None:
        return {"headers": headers}
    if not _ID.fullmatch(version):
        raise InvalidRequest("This is not a version of a FHIR resource.", reason="fhir_version_invalid")
    # Sent twice, the second would find the version that the first has made.
    return {"headers": {**headers, "If-Match": f'W/"{version}"'}, "retry": False}


def _issue(issue: dict[str, Any]) -> Issue:
    details = issue.get("details")
    told = details.get("text") if isinstance(details, dict) else None
    text = told or issue.get("diagnostics")
    return Issue(
        severity=str(issue.get("severity", "error")),
        code=str(issue.get("code", "unknown")),
        text=None if text is None else str(text),
        expression=tuple(str(path) for path in _list(issue.get("expression"))),
    )


def _mode(entry: dict[str, Any]) -> Any:
    search = entry.get("search")
    return search.get("mode") if isinstance(search, dict) else None


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []
