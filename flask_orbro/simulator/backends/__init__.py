"""Stand-ins for other back ends that an app talks to, below ``/backends`` of a loopback host.

They are here so that a demo and a developer's machine need nothing else. They hold next to nothing,
and imitate no real product beyond the one or two calls listed.

======  ==============================================  ===========================================
method  path                                            credential
======  ==============================================  ===========================================
GET     ``/backends/weather?city=``                     :data:`API_KEY` in the query, ``key``
POST    ``/backends/oauth/token``                       :data:`CLIENT_ID` and :data:`CLIENT_SECRET`
any     ``/backends/notes[/{id}]``                      OAuth token, scope ``notes``
GET     ``/backends/fhir/{type}/{id}``                  OAuth token, scope ``patients``
GET     ``/backends/fhir/metadata``                     none
GET     ``/backends/sidecar/AuthorizationHeader/graph`` Entra token of a user
POST    ``/backends/sidecar/DownstreamApi/graph``       Entra token of a user
======  ==============================================  ===========================================
"""

from __future__ import annotations

from flask import Blueprint

from .fhir import fhir
from .rest import rest
from .sidecar import sidecar
from .tokens import API_KEY, CLIENT_ID, CLIENT_SECRET, entra_token

__all__ = ["API_KEY", "CLIENT_ID", "CLIENT_SECRET", "backends", "entra_token"]

backends = Blueprint("backends", __name__, url_prefix="/backends")
for part in (rest, fhir, sidecar):
    backends.register_blueprint(part)
