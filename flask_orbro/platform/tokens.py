"""The app's own tokens, one for each organization: minted here, kept, renewed before they expire."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Config
from ..crypto import KeyedHash, derive_key
from ..http.flight import SingleFlight
from ..http.network import seconds_left
from ..http.server_clock import NOISE, ServerClock
from ..installation import Organization
from ..protocol import is_identifier, mint_app_token, token_expiry
from ..stores.cache import MEMORY_ENTRIES, OthersTooSlow, SealedCache

#: Longest life of a token that is made or kept by hand, in seconds: a year, and a day.
MAX_LIFETIME = 366 * 86_400
#: How long another process may take to make a token, in seconds; half of what is left of a call at most.
PATIENCE = 1.0


@dataclass(frozen=True)
class ConnectAppToken:
    """An app token of one organization; the names are the old SDK's."""

    organization_id: str
    access_token: str = field(repr=False)


@dataclass(frozen=True)
class Mark:
    """What a token was minted with.

    :param secret: tells the secret without showing it; empty: made elsewhere, and good for any.
    :param skew: how far the platform's clock was ahead, in seconds.
    """

    secret: str = ""
    skew: float = 0.0


@dataclass(frozen=True)
class _AtHand:
    """The token of an organization, as it was found when that was read.

    :param skew: as in :class:`Mark`.
    :param until: when it is kept no more, by the platform's clock.
    :param generation: of the store, before it was looked into.
    """

    organization: weakref.ref[Organization]
    token: str = field(repr=False)
    skew: float
    until: float
    generation: object


class TokenStore:
    """Where app tokens are kept: sealed, by a name that tells nothing, until shortly before they expire.

    :param clock: the platform's.
    :param life: how long a token is kept that does not tell when it expires, in seconds.
    :param leeway: how long before it expires a token is kept no more, in seconds.
    """

    def __init__(self, cache: SealedCache, clock: Callable[[], float], *, life: float, leeway: float) -> None:
        self._cache = cache
        self._clock = clock
        self._life = life
        self._leeway = leeway
        self._generations: dict[str, object] = {}
        self._epoch = object()

    def generation(self, organization_id: str) -> object:
        """Another one after each change that is made here."""
        return self._generations.get(organization_id, self._epoch)

    def get_token(self, organization_id: str) -> ConnectAppToken | None:
        """The token that is kept for an organization, or ``None``."""
        kept = self._kept(organization_id)
        return None if kept is None else ConnectAppToken(organization_id, kept["token"])

    def set_token(
        self,
        token: ConnectAppToken | Mapping[str, str],
        expires: float | None = None,
        *,
        expires_in: float | None = None,
    ) -> None:
        """Keep a token, in place of the one that is kept for its organization.

        It is never kept longer than until ``ORBRO_TOKEN_LEEWAY`` before the expiry that it names itself.

        :param token: or a mapping with ``organization_id`` and ``access_token``.
        :param expires: milliseconds, as the old SDK says it.
        :param expires_in: seconds; it wins over ``expires``.
        :raises ValueError: where it names no organization, or no token, or is to be kept for over a year.
        """
        if not isinstance(token, ConnectAppToken):
            token = ConnectAppToken(token.get("organization_id", ""), token.get("access_token", ""))
        if not is_identifier(token.organization_id) or not token.access_token:
            raise ValueError("A token is kept for an organization: it needs both.")
        life = self._life if expires is None else expires / 1000
        bounds = [life if expires_in is None else expires_in]
        if not bounds[0] < MAX_LIFETIME:
            raise ValueError(f"A token is kept for some seconds, not for {bounds[0]!r}.")
        expiry = token_expiry(token.access_token)
        if expiry is not None:
            bounds.append(expiry - self._leeway - self._clock())
        self.keep(token, Mark(), expires_in=min(bounds))

    def delete(self, organization_id: str) -> None:
        """Drop the token of an organization; there need not be one."""
        if is_identifier(organization_id):
            self._cache.delete(self._cache.name(organization_id))
            self._has_changed(organization_id)

    def erase(self, organization_id: str) -> int:
        """As :meth:`delete`. :returns: whether there was one: 1 or 0."""
        there = self.get_token(organization_id) is not None
        self.delete(organization_id)
        return int(there)

    def keep(self, token: ConnectAppToken, mark: Mark, *, expires_in: float) -> None:
        """Keep a token; for no time at all, none."""
        name = self._cache.name(token.organization_id)
        if expires_in > 0:
            until = self._clock() + expires_in
            kept = {"token": token.access_token, "secret": mark.secret, "skew": mark.skew, "until": until}
            self._cache.set(name, kept, expires_in)
        else:
            self._cache.delete(name)
        self._has_changed(token.organization_id)

    def marked(self, organization_id: str, mark: Mark) -> tuple[str, float] | None:
        """The kept token, unless it was minted with another secret or at another time than we think it is.

        :returns: with it, when it is kept no more, by the platform's clock.
        """
        kept = self._kept(organization_id)
        if kept is None:
            return None
        # Each process measures the platform's clock a little differently.
        same = kept["secret"] == mark.secret and abs(kept["skew"] - mark.skew) <= NOISE
        return (kept["token"], kept["until"]) if same or not kept["secret"] else None

    def _has_changed(self, organization_id: str) -> None:
        if len(self._generations) >= MEMORY_ENTRIES:
            self._epoch = object()  # first: whoever looks meanwhile finds a change too many, and none too few
            self._generations = {}
        self._generations[organization_id] = object()

    def _kept(self, organization_id: str) -> dict[str, Any] | None:
        return self._cache.get(self._cache.name(organization_id)) if is_identifier(organization_id) else None


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
        self._life = config.token_lifetime - config.token_leeway
        self.store = TokenStore(cache, platform_clock, life=self._life, leeway=config.token_leeway)
        #: Looked at first, by organization: the store costs more than all else that a call does here.
        self._at_hand: dict[str, _AtHand] = {}

    def is_at_hand(self, organization: Organization) -> bool:
        """Whether :meth:`get` asks no server."""
        return not self._cache.shared or self._found_before(organization) is not None

    def get(self, organization: Organization) -> str:
        """A token that the platform takes for a while yet.

        One that was found stays so for as long as the organization is not read anew: for as long another
        process may take to be heard of.
        """
        return self._found_before(organization) or self.look_up(organization)

    def _found_before(self, organization: Organization) -> str | None:
        known = self._at_hand.get(organization.organization_id)
        is_good = (
            known is not None
            and known.organization() is organization
            and known.generation is self.store.generation(organization.organization_id)
            and abs(known.skew - self._clock.skew) <= NOISE
            and self._clock() < known.until
        )
        return known.token if known is not None and is_good else None

    def look_up(self, organization: Organization) -> str:
        """As :meth:`get`, where another process may have made another one meanwhile."""
        name, mark = organization.organization_id, self._mark(organization)
        generation = self.store.generation(name)
        kept = self.store.marked(name, mark)
        if kept is None:
            return self.renew(organization, refused=None)
        token, until = kept
        # It goes with the organization.
        read = weakref.ref(organization, lambda _: self._at_hand.pop(name, None))
        self._at_hand[name] = _AtHand(read, token, mark.skew, until, generation)
        return token

    def renew(self, organization: Organization, *, refused: str | None) -> str:
        """A token other than the refused one: another thread or process may have made it already."""
        mark = self._mark(organization)
        self._at_hand.pop(organization.organization_id, None)

        def known() -> str | None:
            kept = self.store.marked(organization.organization_id, mark)
            return None if kept is None or kept[0] == refused else kept[0]

        def mint() -> str:
            name = self._cache.name(organization.organization_id)
            try:
                with self._cache.turn(name, known, patience=min(PATIENCE, left)) as found:
                    return found or self._mint(organization, mark, refused)
            except OthersTooSlow:
                return self._mint(organization, mark, refused)

        left = max(seconds_left(), 0) / 2
        flight = f"{organization.organization_id}:{mark}"
        try:
            return known() or self._flights(flight, mint, patience=None if left == math.inf else left)
        except TimeoutError:
            return self._mint(organization, mark, refused)

    def _mint(self, organization: Organization, mark: Mark, refused: str | None) -> str:
        token = self._signed(organization, self._clock())
        if token == refused:
            # It was made in this second. One of the second before is another, and none of the future.
            token = self._signed(organization, self._clock() - 1)
        self._count()
        kept = ConnectAppToken(organization.organization_id, token)
        self.store.keep(kept, mark, expires_in=self._life)
        return token

    def _signed(self, organization: Organization, now: float) -> str:
        return mint_app_token(
            client_id=self._config.client_id,
            shared_secret=organization.shared_secret or "",
            user_id=organization.installed_user_id,
            now=now,
            lifetime=self._config.token_lifetime,
        )

    def _mark(self, organization: Organization) -> Mark:
        return Mark(self._digest(organization.shared_secret or ""), self._clock.skew)
