"""The servers of ``tests/peers``, each started once for the tests of a module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import need_service
from ..peers import SIDECAR_DOCUMENT, Oidc, install, peer


@pytest.fixture(scope="session")
def npm() -> None:
    """The packages that the servers are made of."""
    need_service("Node with its packages", install, missing="cannot be installed")


@pytest.fixture(scope="module")
def oidc(npm: None) -> Iterator[Oidc]:
    """An OAuth 2.0 authorization server."""
    with peer("oidc", clients=Oidc.clients()) as url:
        server = Oidc(url)
        yield server
        server.close()


@pytest.fixture(scope="module")
def notes_url(oidc: Oidc) -> Iterator[str]:
    """A REST server for tokens of :func:`oidc` with the scope ``notes``."""
    with peer("notes", **_introspecting(oidc)) as url:
        yield url


@pytest.fixture(scope="module")
def fhir_url(oidc: Oidc) -> Iterator[str]:
    """A FHIR server for tokens of :func:`oidc` with the scope ``patients``."""
    with peer("fhir", **_introspecting(oidc)) as url:
        yield url


@pytest.fixture(scope="module")
def sidecar_url(npm: None) -> Iterator[str]:
    """Microsoft's document of the sidecar, served by Prism, which refuses what it does not describe."""
    with peer("prism", document=str(SIDECAR_DOCUMENT)) as url:
        yield url


@pytest.fixture(scope="module")
def corrected_sidecar_url(npm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As :func:`sidecar_url`, with what the document says in words but not in its schemas."""
    path = tmp_path_factory.mktemp("sidecar") / "corrected.json"
    path.write_text(json.dumps(_corrected(json.loads(Path(SIDECAR_DOCUMENT).read_text()))))
    with peer("prism", document=str(path)) as url:
        yield url


def _introspecting(oidc: Oidc) -> dict[str, str]:
    return {"issuer": oidc.url, "client_id": oidc.RESOURCE_SERVER, "client_secret": oidc.SECRET}


def _corrected(document: dict[str, Any]) -> dict[str, Any]:
    """Two things: ``Scopes`` may be repeated, and what is posted downstream has a body."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "optionsOverride.Scopes":
                    parameter["schema"] = {"type": "array", "items": {"type": "string"}}
        if "post" in operations:
            operations["post"]["requestBody"] = {"content": {"application/json": {"schema": {}}}}
    return document
