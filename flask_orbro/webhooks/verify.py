"""Verifying a webhook token: locally, with the secret of the organization that its ``sub`` names."""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..errors import NotAllowed, NotAuthenticated, ServiceUnavailable, refusals_of
from ..identity import Presented
from ..installation import Organization, State
from ..installs.inquiry import Inquiry
from ..protocol import TokenError
from ..stores.claims import ClaimStore
from ..stores.organization_cache import OrganizationCache
from ..stores.organizations import OrganizationStore
from ..verdicts import Outcome
from ..webhook_token import WebhookRules, WebhookSubject, WebhookToken, read_webhook_token


class WebhookVerifier:
    """Judges webhook tokens. Knows no Flask; asks the platform only where a waiting claim signed one."""

    def __init__(
        self,
        *,
        config: Config,
        organizations: OrganizationStore,
        organization_cache: OrganizationCache,
        claims: ClaimStore,
        inquiry: Inquiry,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._organizations = organizations
        self._organization_cache = organization_cache
        self._claims = claims
        self._inquiry = inquiry
        self._clock = clock
        self._rules = WebhookRules(
            leeway=config.webhook_leeway,
            require_exp=config.webhook_require_exp,
            max_life=config.webhook_max_life,
        )

    def verify(self, presented: Presented) -> tuple[Organization, str | None]:
        """The organization a delivery comes from, and the user its token names.

        :raises NotAuthenticated: the token is not one of the platform's for an active organization.
        :raises ServiceUnavailable: a waiting claim signed it, and the platform could not be asked.
        """
        try:
            token = read_webhook_token(presented.token)
            subject = token.subject
            organization = self._verify(token, subject)
        except TokenError as error:
            raise _refusal(error) from error
        with refusals_of(organization.organization_id):
            if self._config.trust_enabled_disabled and organization.enabled is False:
                raise NotAllowed("This organization has disabled the app.", reason="organization_disabled")
        return organization, subject.user_id or organization.installed_user_id

    def _verify(self, token: WebhookToken, subject: WebhookSubject) -> Organization:
        # The unverified subject only chooses the secret; what is verified is this very token.
        now = self._clock()
        if subject.organization_id is None:
            return self._verify_of_user(token, subject.user_id or "", now)
        # A secret that another process has just changed is read again before anybody is refused.
        for read in (self._organization_cache.get, self._organizations.get):
            organization = read(subject.organization_id)
            if organization is not None and self._signed_for(token, organization, now):
                return organization
        if organization is not None and self._signed_unproven(token, organization, now):
            organization = self._inquiry.bound(organization)
            if organization.is_active:
                return organization
        return self._verify_with_claims(token, subject.organization_id, now)

    def _verify_of_user(self, token: WebhookToken, user_id: str, now: float) -> Organization:
        for read in (self._organization_cache.of_user, self._organizations.of_user):
            organization = read(user_id)
            if organization is not None and self._signed_for(token, organization, now):
                return organization
        raise TokenError("no_secret")

    def _signed_for(self, token: WebhookToken, organization: Organization, now: float) -> bool:
        with refusals_of(organization.organization_id):
            return any(self._signed(token, secret, now) for secret in organization.webhook_secrets(now))

    def _signed_unproven(self, token: WebhookToken, organization: Organization, now: float) -> bool:
        secret = organization.shared_secret if organization.state is State.PENDING else None
        return secret is not None and self._signed(token, secret, now)

    def _verify_with_claims(self, token: WebhookToken, organization_id: str, now: float) -> Organization:
        """A claim that signed this token is needed now: ask about it, and believe only the answer."""
        waiting = self._claims.of_organization(organization_id)
        outcome = self._inquiry.reconsider(
            claim for claim in waiting if self._signed(token, claim.shared_secret, now)
        )
        if outcome is Outcome.ACCEPTED:
            organization = self._organizations.get(organization_id)
            if organization is not None and organization.is_active:
                return organization
        if outcome is not Outcome.REFUSED:
            raise ServiceUnavailable(
                "The platform cannot be asked about this organization now; send it again.",
                reason="organization_undecided",
                retry_after=2,
            )
        raise TokenError("no_secret")

    def _signed(self, token: WebhookToken, secret: str, now: float) -> bool:
        if not token.is_signed_with(secret):
            return False
        try:
            token.check(now=now, rules=self._rules)
        except TokenError as error:
            raise _refusal(error) from error
        return True


def _refusal(error: TokenError) -> NotAuthenticated:
    return NotAuthenticated(
        "The platform did not sign this delivery for an organization that installed the app.",
        reason="token_expired" if error.reason == "expired" else "token_invalid",
    )
