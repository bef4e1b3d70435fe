"""The app's own tokens, one for each organization: minted here, kept, renewed before they expire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..config import Config
from ..crypto import KeyedHash, derive_key
from ..flight import SingleFlight
from ..installation import Organization
from ..protocol import mint_app_token
from ..server_clock import ServerClock
from ..stores.cache import OthersTooSlow, SealedCache


@dataclass(frozen=True)
class ConnectAppToken:
    """An app token of one organization; the names are the old SDK's."""

    organization_id: str
    access_token: str = field(repr=False)


class TokenStore:
    """Where app tokens are kept: sealed, by a name that tells nothing, until they expire.

    :param life: how long a token is kept where nothing else is said, in seconds.
    """

    def __init__(self, cache: SealedCache, *, life: float) -> None:
        self._cache = cache
        self._life = life

    def get_token(self, organization_id: str) -> ConnectAppToken | None:
        """The token that is kept for an organization, or ``None``."""
        kept = self._cache.get(self._cache.name(organization_id))
        return None if kept is None else ConnectAppToken(organization_id, kept["token"])

    def set_token(self, token: ConnectAppToken, expires_in: float | None = None) -> None:
        """Keep a token for ``expires_in`` seconds."""
        self.keep(token, made_with="", expires_in=self._life if expires_in is None else expires_in)

    def delete(self, organization_id: str) -> None:
        """Drop the token of an organization; there need not be one."""
        self._cache.delete(self._cache.name(organization_id))

    def keep(self, token: ConnectAppToken, *, made_with: str, expires_in: float) -> None:
        """:param made_with: tells the secret it was minted with, without showing it."""
        kept = {"token": token.access_token, "made_with": made_with}
        self._cache.set(self._cache.name(token.organization_id), kept, expires_in)

    def made_with(self, organization_id: str, made_with: str) -> str | None:
        """The kept token, unless it was minted with another secret."""
        kept = self._cache.get(self._cache.name(organization_id))
        if kept is None or kept["made_with"] not in ("", made_with):
            return None
        token: str = kept["token"]
        return token


class AppTokens:
    """Mints tokens with an organization's secret, once at a time for each, across processes."""

    def __init__(
        self,
        config: Config,
        cache: SealedCache,
        platform_clock: ServerClock,
        count: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._cache = cache
        self._clock = platform_clock
        self._count = count
        self._digest = KeyedHash(derive_key(config.client_secret, "token:secret"))
        self._flights: SingleFlight[str] = SingleFlight()
        self.store = TokenStore(cache, life=self._life)

    @property
    def _life(self) -> float:
        return self._config.token_lifetime - self._config.token_leeway

    def get(self, organization: Organization) -> str:
        """A token that the platform takes for a while yet."""
        return self.store.made_with(
            organization.organization_id, self._made_with(organization)
        ) or self.renew(organization, refused=None)

    def renew(self, organization: Organization, *, refused: str | None) -> str:
        """A token other than the refused one: another thread or process may have made it already."""
        made_with = self._made_with(organization)

        def known() -> str | None:
            kept = self.store.made_with(organization.organization_id, made_with)
            return None if kept == refused else kept

        def mint() -> str:
            name = self._cache.name(organization.organization_id)
            try:
                with self._cache.turn(name, known, patience=1.0) as found:
                    return found or self._mint(organization, made_with)
            except OthersTooSlow:
                return self._mint(organization, made_with)

        return known() or self._flights(f"{organization.organization_id}:{made_with}", mint)

    def _mint(self, organization: Organization, made_with: str) -> str:
        token = mint_app_token(
            client_id=self._config.client_id,
            shared_secret=organization.shared_secret or "",
            user_id=organization.installed_user_id,
            now=self._clock(),
            lifetime=self._config.token_lifetime,
        )
        self._count()
        self.store.keep(
            ConnectAppToken(organization.organization_id, token),
            made_with=made_with,
            expires_in=self._life,
        )
        return token

    def _made_with(self, organization: Organization) -> str:
        return self._digest(organization.shared_secret or "", f"{self._clock.skew:.0f}")
