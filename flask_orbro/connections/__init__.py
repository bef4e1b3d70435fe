"""Other back ends, by name: a connection knows where it leads and how to log in. It needs no app."""

from .connection import AsyncConnection, Connection, Surroundings
from .definition import ConnectionDefinition, read_definitions
from .fhir import AsyncFhirConnection, FhirConnection, FhirError, FhirResponse, Issue, VersionConflict
from .gathering import Gathered, async_gather, gather
from .reading import Sources
from .registry import ConnectionRegistry, Connections
from .response import ConnectionResponse
from .sidecar import AsyncSidecarClient, DownstreamAnswer, DownstreamRefused, SidecarClient, SidecarRefused

__all__ = [
    "AsyncConnection",
    "AsyncFhirConnection",
    "AsyncSidecarClient",
    "Connection",
    "ConnectionDefinition",
    "ConnectionRegistry",
    "ConnectionResponse",
    "Connections",
    "DownstreamAnswer",
    "DownstreamRefused",
    "FhirConnection",
    "FhirError",
    "FhirResponse",
    "Gathered",
    "Issue",
    "SidecarClient",
    "SidecarRefused",
    "Sources",
    "Surroundings",
    "VersionConflict",
    "async_gather",
    "gather",
    "read_definitions",
]
