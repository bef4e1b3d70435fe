"""The parts that judge installs and callers, over a database in memory, and a platform of a few lines.

The platform stands where the pooled HTTP client is; all else is real.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from sqlalchemy import StaticPool, create_engine
from sqlalchemy.orm import sessionmaker

from flask_orbro.authenticator import Authenticator
from flask_orbro.config import Config
from flask_orbro.crypto import KeyedHash, KeyRing
from flask_orbro.errors import ProblemError
from flask_orbro.http.pool import Answer, Unreachable
from flask_orbro.http.server_clock import ServerClock
from flask_orbro.identity import Presented
from flask_orbro.installation import Organization
from flask_orbro.installs.inquiry import Inquiry
from flask_orbro.installs.lifecycle import Installed, Lifecycle
from flask_orbro.installs.proof import Prover
from flask_orbro.metrics import make_metrics
from flask_orbro.models import own_models
from flask_orbro.protocol import CONNECT_PATH
from flask_orbro.stores.cache import MemoryCache, SealedCache
from flask_orbro.stores.claims import ClaimStore
from flask_orbro.stores.organization_cache import OrganizationCache
from flask_orbro.stores.organizations import OrganizationStore
from flask_orbro.stores.records import Records
from flask_orbro.stores.verdicts import VerdictStore
from flask_orbro.webhooks import WebhookVerifier

from ..world import webhook_token

PLATFORM_KEY = "k" * 40
WELL, DOWN, BROKEN, REFUSING = "well", "down", "broken", "refusing"
HEADERS = {"content-type": "application/json"}
MODELS = own_models()
ENGINE = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
MODELS.client_info.metadata.create_all(ENGINE, tables=MODELS.tables)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Truth:
    """An organization as the platform knows it; ``secret`` is ``None`` where the app is not installed."""

    id: str
    subdomain: str
    user: str
    secret: str | None = None


@dataclass(frozen=True)
class Asked:
    """One question about a secret, and what the platform said when it was asked."""

    at: float
    organization_id: str
    secret: str
    accepted: bool
    refused: bool


class Platform:
    """Answers where the app's HTTP client would ask.

    :param mood: ``well``; ``down``: no answer; ``broken``: 500; ``refusing``: a wrong 401 to everything.
    """

    def __init__(self, clock: Clock, organizations: list[Truth]) -> None:
        self.clock = clock
        self.organizations = organizations
        self.mood = WELL
        #: Happens once, after an answer is made and before the app has it.
        self.meanwhile: Callable[[], Any] | None = None
        #: Whom the app asks about, innermost last.
        self.asking: list[tuple[str, str]] = []
        self.log: list[Asked] = []

    def ask(self, url: str, headers: Mapping[str, str], **_: Any) -> Answer:
        status, document = self._answer(url, headers["Authorization"].removeprefix("Bearer "))
        if self.asking:
            organization_id, secret = self.asking[-1]
            accepted = status == 200 and document["organization_id"] == organization_id
            self.log.append(Asked(self.clock(), organization_id, secret, accepted, status == 401))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if status == 0:
            raise Unreachable("connect")
        return Answer(status, HEADERS, json.dumps(document).encode())

    def user_token(self, organization: Truth) -> str:
        claims = {"organization": organization.id, "data": f"{organization.user}@example", "exp": 4e9}
        return jwt.encode(claims, PLATFORM_KEY)

    def _answer(self, url: str, token: str) -> tuple[int, dict[str, str]]:
        if self.mood == DOWN:
            return 0, {}
        if self.mood == BROKEN:
            return 500, {}
        label = urlsplit(url).netloc.partition(".")[0]
        lives_there = next((item for item in self.organizations if item.subdomain == label), None)
        if self.mood == REFUSING or lives_there is None:
            return (401 if self.mood == REFUSING else 404), {}
        if url.endswith(CONNECT_PATH):
            return self._about_the_app(lives_there, token)
        claims = _claims(token, PLATFORM_KEY)
        mine = claims is not None and claims["organization"] == lives_there.id
        return (200, _verdict(lives_there)) if mine else (401, {})

    def _about_the_app(self, organization: Truth, token: str) -> tuple[int, dict[str, str]]:
        claims = None if organization.secret is None else _claims(token, organization.secret)
        right = claims is not None and claims.get("sub") in (None, f"uuid:{organization.user}")
        return (200, _verdict(organization)) if right else (401, {})


def _claims(token: str, key: str) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(
            token, key, ["HS256"], options={"verify_exp": False, "verify_iat": False}
        )
    except jwt.InvalidTokenError:
        return None
    return claims


def _verdict(organization: Truth) -> dict[str, str]:
    told = {"id": organization.id, "uuid": organization.user, "organization_id": organization.id}
    return told | {"role": "HQ", "status": "Activated", "scope": ""}


def _expect(error: ProblemError, *codes: int) -> None:
    assert error.code in codes


class _WatchedProver(Prover):
    """Lets the platform's log know whom a question is about."""

    platform: Platform

    def _ask(self, organization_id: str, subdomain: str, shared_secret: str, user_id: str | None) -> Any:
        self.platform.asking.append((organization_id, shared_secret))
        try:
            return super()._ask(organization_id, subdomain, shared_secret, user_id)
        finally:
            self.platform.asking.pop()


class Household:
    """An app's parts, and its database without rows."""

    def __init__(self, clock: Clock, platform: Platform) -> None:
        self.clock, self.platform = clock, platform
        self.config = config = Config(
            client_id="app",
            client_secret="c" * 40,
            platform_host="orbro.io",
            outage_memory=0,
            claim_max_age=2_592_000,
            max_claims_per_organization=100,
        )
        with ENGINE.begin() as connection:
            for table in MODELS.tables:
                connection.execute(table.delete())
        sessions = sessionmaker(ENGINE)
        records = Records(KeyRing([b"k" * 32]))
        self.organizations = OrganizationStore(sessions, MODELS, records, clock)
        self.claims = ClaimStore(
            sessions,
            MODELS,
            records,
            in_all=1000,
            per_organization=config.max_claims_per_organization,
            max_age=config.claim_max_age,
        )
        self.signals: list[tuple[str, str]] = []
        platform_clock = ServerClock(clock)
        metrics = make_metrics(False)
        prover = _WatchedProver(config, platform, platform_clock, metrics)  # type: ignore[arg-type]
        prover.platform = platform
        stores: dict[str, Any] = {"organizations": self.organizations, "claims": self.claims}
        told: dict[str, Any] = {
            "config": config,
            "clock": clock,
            "announce": self._hear,
            "asks_later": lambda: None,
        }
        self.inquiry = Inquiry(**stores, **told, prover=prover)
        self.lifecycle = Lifecycle(**stores, **told, inquiry=self.inquiry, digest=KeyedHash(b"d" * 32))
        shared: dict[str, Any] = {
            **stores,
            "config": config,
            "inquiry": self.inquiry,
            "organization_cache": OrganizationCache(self.organizations, ttl=2, timer=clock),
        }
        sealed = SealedCache(MemoryCache(timer=clock), config.client_secret, "verdict", clock)
        self.authenticator = Authenticator(
            **shared,
            http=platform,  # type: ignore[arg-type]
            verdicts=VerdictStore(sealed, ttl=30, negative_ttl=5, fault_ttl=0, clock=clock),
            own_token=lambda _token: False,
            metrics=metrics,
        )
        self.webhooks = WebhookVerifier(**shared, clock=platform_clock)

    def _hear(self, signal: Any, organization: Organization) -> None:
        self.signals.append((signal.name, organization.organization_id))

    def installed(self, organization_id: str, secret: str, subdomain: str | None, user: str | None) -> None:
        call = Installed(
            organization_id=organization_id, shared_secret=secret, subdomain=subdomain, user_id=user
        )
        self.lifecycle.installed(call)

    def uninstalled(self, organization_id: str) -> None:
        self.signals.append(("uninstall-asked-for", organization_id))
        try:
            self.lifecycle.uninstalled(organization_id)
        except ProblemError as error:
            _expect(error, 404)

    def takes_webhook(self, organization_id: str, secret: str) -> bool:
        times = {"iat": self.clock(), "exp": self.clock() + 60}
        token = webhook_token(secret, organization_id, **times)
        try:
            organization, _ = self.webhooks.verify(Presented(f"Bearer {token}"))
        except ProblemError as error:
            _expect(error, 401, 503)
            return False
        assert organization.organization_id == organization_id
        return True

    def lets_in(self, user_of: Truth, subdomain: str) -> str | None:
        """:returns: the organization that the user is let into, or ``None``."""
        presented = Presented(f"Bearer {self.platform.user_token(user_of)}", sub=subdomain)
        try:
            identity, organization = self.authenticator.user(presented)
        except ProblemError as error:
            _expect(error, 401, 503)
            return None
        assert identity.organization_id == organization.organization_id
        return organization.organization_id
