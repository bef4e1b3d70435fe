"""The scenarios of the comparison: their names, and the requests they are made of."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from .load import COUNTER, Request
from .runner import Run, Server

OURS, HANDWRITTEN = "flask-orbro", "hand-written Flask"
PEER, PEER_ONE = "peer", "peer, one-certificate store"
BARE, WEBHOOK, LOCAL = "bare", "webhook", "@jwt_required()"
WARM, COLD, OUTBOUND = "authenticated, warm", "authenticated, cold", "outbound"
ASYNC_OUTBOUND = "outbound, async view"
#: The peer answers some thirty of these a second, with sixteen under way: it gets longer runs.
PEER_STRETCH = 3
#: Of the platform, in seconds.
LATENCIES = (0.0, 0.02)

SUBDOMAIN, BASE_NAME = "acme", "orbro.localhost"
ORGANIZATION_ID = "8a6e0804-2bd0-4672-b79d-d97027f9071a"
USER_ID = "2f1c5a0e-6f7e-4a55-9d0b-6c1b9a4f2e11"
CLIENT_ID = "benchmark"
#: Longer than any run, shorter than the longest life that the app allows a webhook token (seconds).
TOKEN_LIFE = 3500


def at(scenario: str, latency: float) -> str:
    """A scenario's name, with the platform's latency."""
    return f"{scenario}, {latency * 1000:.0f} ms"


@dataclass(frozen=True)
class Requests:
    """:param host: of the platform, with its port.
    :param shared_secret: of the installed organization; the hand-written view's key, too.
    """

    host: str
    shared_secret: str

    def runs(self, ours: Server, handwritten: Server, peers: list[Server]) -> list[Run]:
        """What is compared stands next to each other.

        :param peers: the one with the default certificate store first; none where it is left out.
        """
        bare, webhook, outbound = Request("/bare"), self.webhook(), self.outbound()
        warm, cold = self.warm(), self.cold()
        runs = [Run(server, BARE, bare) for server in (ours, handwritten, *peers[:1])]
        runs += [Run(server, WEBHOOK, webhook) for server in (ours, *peers[:1])]
        runs.append(Run(handwritten, LOCAL, self.local()))
        for latency in LATENCIES:
            runs.append(Run(ours, at(WARM, latency), warm, latency))
            runs.append(Run(ours, at(COLD, latency), cold, latency))
            # The peer asks the platform each time: warm and cold are one for it.
            runs += [Run(peer, at(COLD, latency), cold, latency, PEER_STRETCH) for peer in peers]
            called = at(OUTBOUND, latency)
            runs += [Run(server, called, outbound, latency) for server in (ours, handwritten)]
            runs += [Run(peer, called, outbound, latency, PEER_STRETCH) for peer in peers]
            in_a_loop = at(ASYNC_OUTBOUND, latency), Request("/outbound-async"), latency
            runs += [Run(server, *in_a_loop) for server in (ours, handwritten)]
        return runs

    def install(self) -> Request:
        body = {
            "shared_secret": self.shared_secret,
            "organization_id": ORGANIZATION_ID,
            "user_id": USER_ID,
            "subdomain": SUBDOMAIN,
        }
        return _json_post("/installed", body)

    def webhook(self) -> Request:
        claims = {"issued_by": "meta-platform-webhook", "sub": f"organizationId:{ORGANIZATION_ID}"}
        body = {"event_name": "device:device_updated", "data": {"profile_id": "Fixed.UWB.Anchor"}}
        return _json_post("/webhook/device", body, f"Bearer {self._token(claims)}")

    def warm(self) -> Request:
        """One token, which the app knows from the second time on."""
        return Request(self._user_path, authorization=f"Bearer {self._user_token()}")

    def cold(self) -> Request:
        """A new token each time. To the app, another signature is another token: it has no key."""
        unsigned = self._user_token().rpartition(".")[0]
        return Request(self._user_path, authorization=f"Bearer {unsigned}.{COUNTER}")

    def local(self) -> Request:
        """A token of flask-jwt-extended's, verified without asking anybody."""
        claims = {"sub": USER_ID, "role": "HQ", "type": "access", "fresh": False, "jti": USER_ID}
        return Request("/platform/me", authorization=f"Bearer {self._token(claims)}")

    def outbound(self) -> Request:
        # The peer learns from the header which organization it is to act for; the others ignore it.
        return Request("/outbound", headers={"sub": SUBDOMAIN})

    @property
    def _user_path(self) -> str:
        return f"/platform/me?origin=https%3A%2F%2F{SUBDOMAIN}.{self.host.replace(':', '%3A')}"

    def _user_token(self) -> str:
        return self._token({"data": "user@acme.example"}, secrets.token_urlsafe(32))

    def _token(self, claims: Mapping[str, object], key: str | None = None) -> str:
        expiring = {**claims, "exp": int(time.time()) + TOKEN_LIFE}
        return jwt.encode(expiring, key or self.shared_secret, algorithm="HS256")


def _json_post(path: str, body: Mapping[str, object], authorization: str | None = None) -> Request:
    return Request(path, "POST", authorization, {"Content-Type": "application/json"}, json.dumps(body))
