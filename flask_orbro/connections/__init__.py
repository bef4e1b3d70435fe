"""Other back ends, by name: a connection knows where it leads and how to log in. It needs no app."""

from .connection import AsyncConnection as AsyncConnection
from .connection import Connection as Connection
from .connection import Surroundings as Surroundings
from .definition import ConnectionDefinition as ConnectionDefinition
from .definition import read_definitions as read_definitions
from .fhir import AsyncFhirConnection as AsyncFhirConnection
from .fhir import FhirConnection as FhirConnection
from .fhir import FhirError as FhirError
from .fhir import FhirResponse as FhirResponse
from .fhir import Issue as Issue
from .fhir import VersionConflict as VersionConflict
from .gathering import Gathered as Gathered
from .gathering import async_gather as async_gather
from .gathering import gather as gather
from .reading import Sources as Sources
from .registry import ConnectionRegistry as ConnectionRegistry
from .registry import Connections as Connections
from .response import ConnectionResponse as ConnectionResponse
from .sidecar import AsyncSidecarClient as AsyncSidecarClient
from .sidecar import DownstreamAnswer as DownstreamAnswer
from .sidecar import DownstreamRefused as DownstreamRefused
from .sidecar import SidecarClient as SidecarClient
from .sidecar import SidecarRefused as SidecarRefused
