"""What a connection is: where it leads, how it logs in, and how long it is waited for."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..checks import is_loopback, number, one_of, switch, text, whole
from ..errors import ConfigurationError
from ..http.pool import parsed_url, trusting
from .auth import AUTH_KINDS, HEADER, OF_HTTP, AuthKind
from .reading import Reading, Sources
from .urls import base_url_check, path_check

#: What can be on the other side, with the path that ``check`` calls there by itself.
HEALTH = {"rest": None, "fhir": "/metadata", "entra-sidecar": "/healthz"}
#: The class that calls each, for messages; ``Async`` before it is the other form.
CLASSES = {"rest": "Connection", "fhir": "FhirConnection", "entra-sidecar": "SidecarClient"}
#: A back end whose address has a name of its own in the environment.
_USUAL_URL = {"entra-sidecar": {"env": "SIDECAR_URL"}}

_SECRET_HEADER = re.compile(r"key|token|secret|password|cookie|auth", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ConnectionDefinition:
    """A checked definition, with its references followed.

    :param url: what all paths begin with; empty for the platform.
    :param kind: a key of :data:`HEALTH`.
    :param timeout: seconds for a call, with all its attempts.
    :param retries: attempts after the first.
    :param pool: connections, and calls at once, at most.
    :param verify: the certificate authorities that are believed.
    :param allow_http: whether credentials may travel in clear beyond this machine.
    :param health: the path that ``check`` calls.
    """

    url: str
    kind: str = "rest"
    auth: AuthKind
    timeout: float = 30.0
    retries: int = 2
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    pool: int = 64
    verify: bool | str = True
    allow_http: bool = False
    health: str | None = None

    @property
    def auth_kind(self) -> str:
        """The key of :data:`AUTH_KINDS`."""
        return next(kind for kind, known in AUTH_KINDS.items() if type(self.auth) is known)

    @property
    def fingerprint(self) -> str:
        """All of it as text, secrets too: for a keyed hash, and for nothing else."""
        return json.dumps([self.auth_kind, asdict(self)], sort_keys=True)

    @property
    def relaxations(self) -> list[str]:
        """What is less safe here than it could be, in words."""
        urls = {"url": self.url, **self.auth.urls}
        found = [
            f"{key} is 'http': credentials travel in clear"
            for key, url in urls.items()
            if url.startswith("http:") and not is_loopback(parsed_url(url).host)
        ]
        if self.verify is False:
            found.append("verify is off: whoever answers is believed")
        return found


def read_definitions(
    documents: Any, sources: Sources, *, path: str, kind: str = "rest"
) -> dict[str, ConnectionDefinition]:
    """Check definitions by name.

    :param path: the setting they are from.
    :param kind: of those that name none.
    :raises ConfigurationError: naming every fault, a line each.
    """
    faults: list[str] = []
    if not isinstance(documents, Mapping):
        raise ConfigurationError(f"{path}: must be a mapping of definitions, not {type(documents).__name__}.")
    read = {}
    for name, document in documents.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(f"{path}: {name!r} is not a name; letters, digits, '_', '-' and '.' make one.")
            continue
        read[name] = _read(Reading(f"{path}[{name!r}]", document, sources, faults), kind)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return {name: definition for name, definition in read.items() if definition is not None}


def read_definition(name: str, document: Any, sources: Sources, kind: str) -> ConnectionDefinition:
    """Check one definition.

    :param kind: the one it is of, where it does not say so.
    :raises ConfigurationError: naming every fault, a line each; or it is of another kind.
    """
    read = read_definitions({name: document}, sources, path="connections", kind=kind)[name]
    if read.kind != kind:
        raise ConfigurationError(
            f"connections[{name!r}].kind: is {read.kind!r}, which is made with {CLASSES[read.kind]}."
        )
    return read


def _read(reading: Reading, usual_kind: str) -> ConnectionDefinition | None:
    auth = reading.document.get("auth")
    if isinstance(auth, Mapping) and auth.get("kind") == "connect_app":
        return _read_platform(reading)
    kind = reading.take("kind", one_of(*HEALTH), usual_kind)
    allow_http = bool(reading.take("allow_http", switch, False))
    values = {
        "auth": _auth(reading, allow_http=allow_http),
        "url": reading.take("url", base_url_check(allow_http=allow_http), usual=_USUAL_URL.get(kind)),
        "timeout": reading.take("timeout", number(0.05, 600), 30.0, numeric=True),
        "retries": reading.take("retries", whole(0, 10), 2, numeric=True),
        "headers": _headers(reading),
        "pool": reading.take("pool", whole(1, 10_000), 64, numeric=True),
        "verify": reading.take("verify", _verify, True),
        "health": reading.take("health", path_check, HEALTH.get(kind)),
    }
    reading.finish()
    return ConnectionDefinition(kind=kind, allow_http=allow_http, **values) if reading.is_sound else None


def _read_platform(reading: Reading) -> ConnectionDefinition | None:
    """The platform's client has settings of its own, and knows where the platform is."""
    auth = _auth(reading, allow_http=False)
    health = reading.take("health", path_check, None)
    reading.finish()
    return ConnectionDefinition(url="", auth=auth, health=health) if auth and reading.is_sound else None


def _auth(reading: Reading, *, allow_http: bool) -> AuthKind | None:
    part = reading.part("auth", {"kind": "none"})
    if not part.is_sound:
        return None
    kind = part.take("kind", one_of(*AUTH_KINDS))
    if kind is None:
        return None
    auth = AUTH_KINDS[kind].read(part, allow_http=allow_http)
    part.finish()
    return auth


def _headers(reading: Reading) -> dict[str, str]:
    part = reading.part("headers", {})
    found = {}
    for name in part.items():
        secret = bool(_SECRET_HEADER.search(name))
        if not HEADER.fullmatch(name):
            part.fault("", f"{name!r} is not the name of a header")
        elif name.lower() in OF_HTTP:
            part.fault(name, "is not set here; credentials belong under 'auth'")
            secret = False
        found[name] = part.take(name, text, secret=secret)
    return found


def _verify(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    try:
        trusting(text(value))
    except (OSError, ssl.SSLError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(
            f"must be True, False, or a file or folder of certificate authorities: {reason}"
        ) from None
    return str(value)
