"""The connections of one app, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .auth import ConnectApp
from .connection import AsyncConnection, Connection, Parts, Surroundings, make_parts
from .definition import ConnectionDefinition
from .fhir import AsyncFhirConnection, FhirConnection
from .sidecar import AsyncSidecarClient, SidecarClient

#: What is on the other side, with the class that calls it, sync and async.
KINDS: Mapping[str, tuple[type[Connection], type[AsyncConnection]]] = {
    "rest": (Connection, AsyncConnection),
    "fhir": (FhirConnection, AsyncFhirConnection),
    "entra-sidecar": (SidecarClient, AsyncSidecarClient),
}


class Connections(Mapping[str, Any]):
    """Connections in one form, by name.

    :param make: makes the connection of a name.
    """

    def __init__(self, names: Mapping[str, object], make: Callable[[str], Any]) -> None:
        self._names = names
        self._make = make

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            known = ", ".join(self._names) or "none"
            raise KeyError(f"ORBRO_CONNECTIONS has no connection {name!r}; there are: {known}")
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<Connections {', '.join(self._names) or 'none'}>"


class ConnectionRegistry:
    """What an app keeps of its connections.

    :param platform: the platform's sync client for an organization, by default the caller's.
    :param async_platform: likewise, async.
    """

    def __init__(
        self,
        definitions: Mapping[str, ConnectionDefinition],
        around: Surroundings,
        *,
        platform: Callable[[str | None], Any],
        async_platform: Callable[[str | None], Any],
    ) -> None:
        self.definitions = definitions
        #: All but the platform's.
        self.parts: dict[str, Parts] = {
            name: make_parts(name, definition, around)
            for name, definition in definitions.items()
            if not isinstance(definition.auth, ConnectApp)
        }
        self._platforms = (platform, async_platform)
        self.sync = Connections(definitions, lambda name: self._make(name, 0))
        self.asynchronous = Connections(definitions, lambda name: self._make(name, 1))

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        for parts in self.parts.values():
            parts.calling.http.close()

    def platform_client(self, name: str, organization_id: str | None = None) -> Any:
        """The platform's client behind a name, sync.

        :param organization_id: whom it acts for where the definition names nobody; else the caller's.
        """
        return self._make(name, 0, organization_id)

    def _make(self, name: str, form: int, organization_id: str | None = None) -> Any:
        definition = self.definitions[name]
        if isinstance(definition.auth, ConnectApp):
            return self._platforms[form](definition.auth.organization_id or organization_id)
        return KINDS[definition.kind][form].of(self.parts[name])
