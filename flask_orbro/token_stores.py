"""The old SDK's token stores by their names: :class:`TokenStore` over memory, or over a Redis client."""

from __future__ import annotations

import secrets
import time
from typing import Any

from .platform import ConnectAppToken, TokenStore
from .state import get_state
from .stores.cache import Cache, MemoryCache, SealedCache
from .stores.redis_cache import RedisCache

#: As an app's defaults, in seconds: how long a token is kept that does not tell when it expires, and
#: how long before it expires it is kept no more.
LIFE, LEEWAY = 1740.0, 60.0


class _TokenDataStore(TokenStore):
    def __init__(self, cache: Cache, client_secret: str) -> None:
        sealed = SealedCache(cache, client_secret, "app-token", time.time)
        super().__init__(sealed, time.time, life=LIFE, leeway=LEEWAY)

    def get(self, organization_id: str) -> str | None:
        """The bare token that is kept for an organization, or ``None``."""
        token = self.get_token(organization_id)
        return None if token is None else token.access_token

    def set(self, organization_id: str, access_token: str, expires: float | None = None) -> None:
        """Keep a bare token for ``expires`` milliseconds."""
        self.set_token(ConnectAppToken(organization_id, access_token), expires)


class DictTokenDataStore(_TokenDataStore):
    """Tokens in the memory of this process, bounded and expiring."""

    def __init__(self) -> None:
        super().__init__(MemoryCache(), secrets.token_urlsafe())


class RedisTokenDataStore(_TokenDataStore):
    """Tokens in Redis, sealed: those of ``orbro.token_store`` of an app with that Redis.

    :param redis: a redis-py client, with or without ``decode_responses``.
    :param client_secret: seals them; by default that of the current app.
    """

    def __init__(self, redis: Any, client_secret: str | None = None) -> None:
        super().__init__(RedisCache(redis), client_secret or get_state().config.client_secret)
