"""Making clients: which organization they act for, and what they do where a token is refused."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from ..config import Config
from ..errors import ConfigurationError, NotAllowed
from ..http.bulkhead import Bulkhead
from ..http.event_loop import LoopThread
from ..http.pool import HttpPool
from ..http.retry import RetryPolicy
from ..http.server_clock import TIMES, ServerClock
from ..http.token_auth import TokenAuth
from ..installation import Organization, State
from ..installs.inquiry import Inquiry
from ..metrics import Metrics
from ..protocol import is_identifier, organization_origin, subdomain_label
from ..stores.claims import ClaimStore
from ..stores.organization_cache import OrganizationCache
from ..stores.organizations import OrganizationStore
from ..verdicts import TOKEN_EXPIRED, error_code
from .clients import AsyncPlatformClient, PlatformCalling, PlatformClient
from .token_util import TokenUtil
from .tokens import AppTokens

#: The extension of a request that was shown a newer token.
_RENEWED = "orbro_renewed"
_Made = tuple[PlatformCalling, str, str, httpx2.Auth]


class Platform:
    """Makes clients, each with the token of the organization it acts for."""

    def __init__(
        self,
        *,
        config: Config,
        http: HttpPool,
        tokens: AppTokens,
        organizations: OrganizationStore,
        organization_cache: OrganizationCache,
        claims: ClaimStore,
        inquiry: Inquiry,
        metrics: Metrics,
        platform_clock: ServerClock,
        home: Callable[[], LoopThread | None],
    ) -> None:
        self._config = config
        self.tokens = tokens
        self._organizations = organizations
        self._organization_cache = organization_cache
        self._claims = claims
        self._inquiry = inquiry
        self._platform_clock = platform_clock
        self._calling = PlatformCalling(
            http=http,
            retries=RetryPolicy(
                attempts=config.call_attempts, budget=config.call_budget, clock=platform_clock
            ),
            bulkhead=Bulkhead(config.calls_per_organization),
            count=metrics.call,
            home=home,
            clock=platform_clock,
        )
        root = f"{config.platform_scheme}://{config.platform_host}"
        self.token_util = TokenUtil(
            config, platform_clock, PlatformClient(self._calling, root, "", httpx2.Auth()), metrics
        )

    def client_for(self, organization_id: str) -> PlatformClient:
        """A client that acts for an organization that has installed the app.

        :raises NotAllowed: where it is not active, or its subdomain is not proven.
        """
        return PlatformClient(*self._for(organization_id))

    def async_client_for(self, organization_id: str) -> AsyncPlatformClient:
        """As :meth:`client_for`."""
        return AsyncPlatformClient(*self._for(organization_id))

    def open_api_client(self) -> PlatformClient:
        """A client that acts with the developer's own Open API token.

        :raises ConfigurationError: without ``ORBRO_OPEN_API_TOKEN``.
        """
        return PlatformClient(*self._for_open_api())

    def async_open_api_client(self) -> AsyncPlatformClient:
        """As :meth:`open_api_client`."""
        return AsyncPlatformClient(*self._for_open_api())

    def organization_id_of(self, *, subdomain: str | None, user_id: str | None) -> str:
        """The one active organization with a subdomain, or that a user has installed.

        :raises NotAllowed: where there is none, or more than one.
        """
        found: list[Organization] = []
        label = subdomain_label(subdomain) if isinstance(subdomain, str) else None
        if label is not None:
            bound = self._organization_cache.bound_to(label)
            found = [bound] if bound is not None else []
        elif subdomain is None and user_id is not None and is_identifier(user_id):
            found = self._organizations.active_by_user(user_id)
        if len(found) != 1:
            raise NotAllowed("No organization, or more than one, is meant.", reason="unknown_organization")
        return found[0].organization_id

    def _for(self, organization_id: str) -> _Made:
        usable = self._usable(organization_id)
        subdomain = usable.bound_subdomain

        def organization() -> Organization:
            # For each call: a client that is kept must not outlive the trust in its organization.
            found = self._usable(organization_id)
            if found.bound_subdomain != subdomain:
                raise NotAllowed(
                    "This organization has another subdomain by now; make its client anew.",
                    reason="subdomain_changed",
                )
            return found

        auth = TokenAuth(
            lambda: self.tokens.get(organization()),
            lambda refused, response: self._renewed(organization, refused, response),
            at_hand=lambda: self._is_at_hand(organization_id),
        )
        return self._calling, self._origin_of(usable), organization_id, auth

    def _origin_of(self, organization: Organization) -> str:
        return organization_origin(
            organization.bound_subdomain or "",
            scheme=self._config.platform_scheme,
            host=self._config.platform_host,
        )

    def _for_open_api(self) -> _Made:
        token = self._config.open_api_token
        if token is None:
            raise ConfigurationError(
                "ORBRO_OPEN_API_TOKEN is missing; the Open API client needs it. Put it into "
                "application.cfg in the instance folder."
            )
        origin = f"{self._config.platform_scheme}://{self._config.platform_host}"
        return self._calling, origin, "", TokenAuth(lambda: token, lambda _refused, _response: None)

    def _usable(self, organization_id: str) -> Organization:
        # What no organization can be called is not looked for: a database might not take it.
        known = is_identifier(organization_id)
        organization = self._organization_cache.get(organization_id) if known else None
        if organization is not None and organization.state in (State.ACTIVE, State.PENDING):
            organization = self._inquiry.bound(organization)
        if organization is None or not organization.is_active:
            raise NotAllowed("This organization has not installed the app.", reason="unknown_organization")
        if organization.bound_subdomain is None:
            raise NotAllowed(
                "The platform does not confirm this organization's subdomain.",
                reason="subdomain_unproven",
            )
        if self._config.trust_enabled_disabled and organization.enabled is False:
            raise NotAllowed("This organization has disabled the app.", reason="organization_disabled")
        return organization

    def _is_at_hand(self, organization_id: str) -> bool:
        """Whether neither the organization nor its token need be read or asked for."""
        known = self._organization_cache.known(organization_id)
        return known is not None and self._inquiry.is_settled(known) and self.tokens.is_at_hand(known)

    def _renewed(
        self, find: Callable[[], Organization], refused: str, response: httpx2.Response
    ) -> str | None:
        """A newer token after a refusal: it had expired, the clocks differ, or a secret was proven since.

        Once for each call: where that is refused as well, no other token helps.
        """
        skew = self._platform_clock.skew
        self._platform_clock.observe(response.headers, response.extensions.get(TIMES))
        if _RENEWED in response.request.extensions:
            return None
        response.request.extensions[_RENEWED] = True
        organization = find()
        if error_code(response.content) == TOKEN_EXPIRED or self._platform_clock.skew != skew:
            return self.tokens.renew(organization, refused=refused)
        newer = self.tokens.look_up(organization)
        if newer != refused:
            return newer
        self._inquiry.reconsider(self._claims.of_organization(organization.organization_id))
        # Another process may have proven another secret, too.
        self._organization_cache.forget(organization.organization_id)
        current = find()
        if current.shared_secret == organization.shared_secret:
            return None
        return self.tokens.renew(current, refused=refused)
