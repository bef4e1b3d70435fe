"""From a credential to an identity: judged by the platform, remembered for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .config import Config
from .errors import (
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    ServiceUnavailable,
    TooManyRequests,
    refusals_of,
)
from .http.flight import SingleFlight
from .http.network import seconds_left
from .http.outage import KnownOutage, OutageMemory
from .http.pool import HttpPool, Unreachable
from .identity import ConnectAppIdentity, OpenApiIdentity, Presented, UserIdentity
from .installation import Organization, State
from .installs.inquiry import Inquiry
from .logs import get_logger
from .metrics import Metrics
from .protocol import (
    CONNECT_ISSUER,
    CONNECT_PATH,
    OPEN_API_PATH,
    USER_PATH,
    WEBHOOK_ISSUER,
    bearer_token,
    organization_origin,
    peek_claims,
    subdomain_label,
    subdomain_of_origin,
)
from .stores.claims import ClaimStore
from .stores.organization_cache import OrganizationCache
from .stores.organizations import OrganizationStore
from .stores.verdicts import TOO_LONG, VerdictStore
from .verdicts import Outcome, Undecided, Verdict, read_verdict

logger = get_logger(__name__)

#: What a gateway answers in the platform's place: it is as out of reach as if nobody had answered.
GATEWAY_FAULTS = frozenset({502, 503, 504})


class Authenticator:
    """Judges the three credentials that only the platform can judge. Knows no Flask.

    :param own_token: whether the app itself has signed a token; such a one never leaves the app.
    """

    def __init__(
        self,
        *,
        config: Config,
        http: HttpPool,
        verdicts: VerdictStore,
        inquiry: Inquiry,
        organizations: OrganizationStore,
        organization_cache: OrganizationCache,
        claims: ClaimStore,
        own_token: Callable[[str], bool],
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._http = http
        self._own_token = own_token
        self._metrics = metrics
        self._verdicts = verdicts
        self._inquiry = inquiry
        self._organizations = organizations
        self._organization_cache = organization_cache
        self._claims = claims
        self._flights: SingleFlight[Verdict] = SingleFlight()
        self._outages = OutageMemory(memory=config.outage_memory, stall=config.stall_after)

    def user(self, presented: Presented) -> tuple[UserIdentity, Organization]:
        """Who a platform user token belongs to, in the organization that the request names."""
        token = self._token(presented, refused_issuers=(WEBHOOK_ISSUER, CONNECT_ISSUER))
        organization, subdomain = self._organization(presented)
        origin = self._origin(subdomain)
        with refusals_of(organization.organization_id):
            body = self._judge(USER_PATH, origin, organization.organization_id, token)
        email = peek_claims(token).get("data")
        identity = UserIdentity(
            **body,
            email=email if isinstance(email, str) else None,
            origin=origin,
            subdomain=subdomain,
            organization_id=organization.organization_id,
        )
        return identity, organization

    def connect_app(self, presented: Presented) -> tuple[ConnectAppIdentity, Organization]:
        """Who a connect-app token belongs to, in the organization that the request names."""
        token = self._token(presented, refused_issuers=(WEBHOOK_ISSUER,))
        organization, subdomain = self._organization(presented)
        with refusals_of(organization.organization_id):
            body = self._judge(CONNECT_PATH, self._origin(subdomain), organization.organization_id, token)
            if body["organization_id"] != organization.organization_id:
                raise NotAllowed("This token belongs to another organization.", reason="wrong_organization")
        return ConnectAppIdentity(**body), organization

    def open_api(self, presented: Presented) -> OpenApiIdentity:
        """Who an Open API token belongs to."""
        token = self._token(presented, refused_issuers=(WEBHOOK_ISSUER, CONNECT_ISSUER))
        origin = f"{self._config.platform_scheme}://{self._config.platform_host}"
        return OpenApiIdentity(**self._judge(OPEN_API_PATH, origin, "", token))

    def is_own(self, presented: Presented) -> bool:
        """Whether what a request shows is a token that the app itself has signed."""
        token = bearer_token(presented.authorization or "")
        return token is not None and self._own_token(token)

    def forget(self, token: str) -> None:
        """Drop what is remembered about a token: the next request asks the platform."""
        self._verdicts.forget(token)

    def _token(self, presented: Presented, *, refused_issuers: tuple[str, ...]) -> str:
        token = presented.token
        if peek_claims(token).get("issued_by") in refused_issuers:
            raise NotAuthenticated("This token is of another kind.", reason="token_of_another_kind")
        return token

    def _origin(self, subdomain: str) -> str:
        return organization_origin(
            subdomain, scheme=self._config.platform_scheme, host=self._config.platform_host
        )

    def _organization(self, presented: Presented) -> tuple[Organization, str]:
        """The active organization that a request names; the network is asked only where a claim waits."""
        subdomain = self._subdomain(presented)
        organization = self._organization_cache.bound_to(subdomain)
        if organization is None:
            organization = self._reconsider(subdomain)
        if organization is not None:
            with refusals_of(organization.organization_id):
                organization = self._inquiry.bound(organization)
        if organization is None or organization.bound_subdomain != subdomain:
            raise NotAuthenticated(
                "This organization has not installed the app.", reason="unknown_organization"
            )
        with refusals_of(organization.organization_id):
            if self._config.trust_enabled_disabled and organization.enabled is False:
                raise NotAllowed("This organization has disabled the app.", reason="organization_disabled")
        return organization, subdomain

    def _subdomain(self, presented: Presented) -> str:
        subdomain: str | None = None
        if presented.origins:
            field_name = "origin"
            # Of several, whoever else looks at the request may take another one.
            if len(presented.origins) == 1:
                subdomain = subdomain_of_origin(
                    presented.origins[0],
                    scheme=self._config.platform_scheme,
                    host=self._config.platform_host,
                )
        elif presented.sub is not None:
            subdomain, field_name = subdomain_label(presented.sub), "sub"
        else:
            raise InvalidRequest(
                "Name the organization: '?origin=https://{subdomain}.{host}', or the header 'sub'.",
                reason="organization_missing",
            )
        if subdomain is None:
            raise InvalidRequest(
                f"'{field_name}' does not name an organization of the platform.",
                reason="organization_malformed",
                errors={field_name: ["Not an organization of the configured platform."]},
            )
        return subdomain

    def _reconsider(self, subdomain: str) -> Organization | None:
        """Ask about what waits for this subdomain: it is needed now.

        :raises ServiceUnavailable: where something waits that could not be asked about.
        """
        outcome = self._inquiry.reconsider(self._claims.of_subdomain(subdomain))
        if outcome is Outcome.ACCEPTED:
            return self._organizations.bound_to(subdomain)
        for organization in self._organizations.named(subdomain):
            if organization.state is not State.UNINSTALLED:
                checked = self._inquiry.bound(organization)
                if checked.bound_subdomain == subdomain:
                    return checked
        if outcome is Outcome.FAULT:
            raise ServiceUnavailable(
                "Whether this organization has installed the app is not known yet.",
                reason="organization_undecided",
                retry_after=1,
            )
        return None

    def _judge(self, path: str, origin: str, organization_id: str, token: str) -> Mapping[str, Any]:
        """The documented members of the platform's acceptance.

        :raises NotAuthenticated: the platform refuses the token.
        :raises TooManyRequests: the platform limits us.
        :raises ServiceUnavailable: anything else, for it says nothing about the bearer.
        """
        name = self._verdicts.name(origin + path, organization_id, token)
        verdict, forgotten = self._verdicts.recall(name, token)
        self._metrics.verdict(remembered=verdict is not None)
        if verdict is None:
            if self._own_token(token):
                raise NotAuthenticated("This token is of another kind.", reason="token_of_another_kind")
            # Who comes after the token was forgotten does not join those who came before.
            verdict = self._shared(
                f"{name}:{forgotten}", lambda: self._find_out(path, origin, token, name, forgotten)
            )
        if verdict.outcome is Outcome.ACCEPTED and verdict.body is not None:
            return verdict.body
        if verdict.outcome is Outcome.REFUSED:
            raise NotAuthenticated("The platform does not accept this token.")
        if verdict.outcome is Outcome.EXPIRED:
            raise NotAuthenticated("This token has expired.", reason="token_expired")
        if verdict.outcome is Outcome.RATE_LIMITED:
            raise TooManyRequests(
                "The platform limits requests; send it again later.",
                retry_after=verdict.retry_after or 1,
            )
        raise ServiceUnavailable(
            "The platform cannot be asked about this token now.", retry_after=1
        ) from Undecided(verdict.reason)

    def _shared(self, name: str, find_out: Callable[[], Verdict]) -> Verdict:
        try:
            return self._flights(name, find_out, patience=self._seconds_left())
        except TimeoutError:
            return Verdict(Outcome.FAULT, reason=TOO_LONG)

    def _seconds_left(self) -> float:
        """For a verdict, in all that is done for this caller: see :func:`.http.network.deadline`."""
        return min(self._config.verdict_timeout, seconds_left())

    def _find_out(self, path: str, origin: str, token: str, name: str, forgotten: float) -> Verdict:
        """Ask, unless another process has just done so.

        :param forgotten: when the token was last forgotten.
        """
        with self._verdicts.turn(name, token, self._seconds_left()) as found:
            if found is not None:
                return found
            began = time.monotonic()
            verdict = self._ask(path, origin, token)
            self._metrics.remote(path, verdict.outcome.value, time.monotonic() - began)
            self._verdicts.remember(name, token, verdict, forgotten)
            return verdict

    def _ask(self, path: str, origin: str, token: str) -> Verdict:
        timeout = self._seconds_left()
        if timeout <= 0:
            return Verdict(Outcome.FAULT, reason=TOO_LONG)
        try:
            question = self._outages.enter(origin)
        except KnownOutage:
            return Verdict(Outcome.FAULT, reason="known_outage")
        answered = False
        try:
            answer = self._http.ask(
                origin + path,
                {"Authorization": f"Bearer {token}"},
                timeout=timeout,
                keep_waiting=lambda: self._outages.keep_waiting(origin, question),
            )
            answered = answer.status not in GATEWAY_FAULTS
        except Unreachable as error:
            logger.warning("The platform cannot be asked at %s%s: %s.", origin, path, error.reason)
            return Verdict(Outcome.FAULT, reason=error.reason)
        finally:
            self._outages.leave(origin, question, answered=answered)
        verdict = read_verdict(path, answer.status, answer.headers, answer.body)
        if verdict.outcome in (Outcome.FAULT, Outcome.UNDECIDED):
            logger.warning("The platform's answer at %s%s: %s.", origin, path, verdict.reason)
        return verdict
