"""One small port for what may be forgotten: memory by default, Redis where processes share it."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from cachetools import TLRUCache

from ..crypto import KeyedHash, Sealer, derive_key
from ..logs import get_logger

logger = get_logger(__name__)
T = TypeVar("T")

#: Entries kept in memory; beyond that the least recently used goes.
MEMORY_ENTRIES = 50_000
#: How often it is looked whether another process has an answer, in seconds.
LOOK = 0.01
#: How long memory stands in for a Redis that did not answer, in seconds.
REDIS_REST = 1.0


class OthersTooSlow(Exception):
    """Another process has not found out in time."""


class Cache(Protocol):
    """Bytes by name, for a time."""

    #: Whether other processes see the same.
    shared: bool

    def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        """The values, each ``None`` where there is none or it has expired."""

    def add(self, name: str, value: bytes, ttl: float) -> bool:
        """Keep a value where there is none yet; whether it was kept."""

    def set(self, name: str, value: bytes, ttl: float) -> None:
        """Keep a value for ``ttl`` seconds."""

    def delete(self, name: str) -> None:
        """Forget a value; unknown names are no error."""


class MemoryCache:
    """Bounded and expiring, for one process.

    :param timer: a clock in seconds that never steps back.
    """

    shared = False

    def __init__(self, entries: int = MEMORY_ENTRIES, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._entries: TLRUCache[str, tuple[bytes, float]] = TLRUCache(
            entries, ttu=lambda _name, entry, _now: entry[1], timer=timer
        )

    def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        with self._lock:
            found = [self._entries.get(name) for name in names]
        return [entry[0] if entry else None for entry in found]

    def add(self, name: str, value: bytes, ttl: float) -> bool:
        with self._lock:
            if name in self._entries:
                return False
            self._entries[name] = (value, self._timer() + ttl)
            return True

    def set(self, name: str, value: bytes, ttl: float) -> None:
        with self._lock:
            self._entries[name] = (value, self._timer() + ttl)

    def delete(self, name: str) -> None:
        with self._lock:
            self._entries.pop(name, None)


class RedisCache:
    """Over a redis-py client, with or without ``decode_responses``.

    While Redis does not answer, memory stands in: what is kept here may be forgotten, a call may not fail.

    :param client: a ``redis.Redis``.
    """

    shared = True
    prefix = "orbro:"

    def __init__(self, client: Any) -> None:
        self._client = client
        self._memory = MemoryCache()
        self._rest_until = 0.0

    def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        found = self._ask(lambda: self._client.mget([self.prefix + name for name in names]))
        if found is None:
            return self._memory.get_many(names)
        return [None if value is None else _decoded(value) for value in found]

    def add(self, name: str, value: bytes, ttl: float) -> bool:
        written, milliseconds = _encoded(value, ttl)
        added = self._ask(
            lambda: bool(self._client.set(self.prefix + name, written, px=milliseconds, nx=True))
        )
        return self._memory.add(name, value, ttl) if added is None else bool(added)

    def set(self, name: str, value: bytes, ttl: float) -> None:
        written, milliseconds = _encoded(value, ttl)
        if not self._ask(lambda: self._client.set(self.prefix + name, written, px=milliseconds)):
            self._memory.set(name, value, ttl)

    def delete(self, name: str) -> None:
        self._memory.delete(name)
        self._ask(lambda: self._client.delete(self.prefix + name))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """The client's answer, or ``None`` while it gives none."""
        import redis

        if time.monotonic() < self._rest_until:
            return None
        try:
            answer = question()
        except UnicodeDecodeError:  # a client with ``decode_responses``, and bytes that are not ours
            return None
        except (redis.RedisError, OSError) as error:
            if not self._rest_until:
                logger.warning("Redis does not answer (%s); memory stands in.", type(error).__name__)
            # From now on: the client may have tried for longer than the rest is.
            self._rest_until = time.monotonic() + REDIS_REST
            return None
        self._rest_until = 0.0
        return answer


def _encoded(value: bytes, ttl: float) -> tuple[str, int]:
    # As text, so that clients with ``decode_responses`` read it too.
    return base64.b64encode(value).decode(), max(1, int(ttl * 1000))


def _decoded(value: str | bytes) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def redis_cache_from_url(url: str) -> RedisCache:
    """:raises ImportError: without the ``redis`` extra."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis.from_url(
        url,
        socket_timeout=1,
        socket_connect_timeout=1,
        health_check_interval=30,
        # Once more, for a connection that was closed meanwhile; memory stands in sooner than later.
        retry=Retry(NoBackoff(), 1),
    )
    return RedisCache(client)


class SealedCache:
    """JSON documents in a :class:`Cache` whose medium is not trusted.

    Names are keyed hashes, values are sealed to their name, and each carries its own expiry, so that
    someone who can read or write the medium learns nothing, plants nothing and prolongs nothing.

    :param purpose: separates the keys of tokens from those of verdicts.
    :param clock: seconds since the epoch.
    """

    def __init__(self, cache: Cache, client_secret: str, purpose: str, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._purpose = purpose
        self._clock = clock
        self._hash = KeyedHash(derive_key(client_secret, purpose + ":name"))
        self._sealer = Sealer(derive_key(client_secret, purpose + ":value"))

    def name(self, *parts: str) -> str:
        """The name that the parts are kept under."""
        return f"{self._purpose}:{self._hash(*parts)}"

    @property
    def shared(self) -> bool:
        """Whether other processes see the same."""
        return self._cache.shared

    def get(self, name: str) -> dict[str, Any] | None:
        """The value, or ``None`` where there is none that we put there and that is still good."""
        return self.get_many([name])[0]

    def get_many(self, names: Sequence[str]) -> list[dict[str, Any] | None]:
        """As :meth:`get`, in one look-up."""
        found = self._cache.get_many(names)
        return [
            None if sealed is None else self._open(name, sealed)
            for name, sealed in zip(names, found, strict=True)
        ]

    def _open(self, name: str, sealed: bytes) -> dict[str, Any] | None:
        opened = self._sealer.open(sealed, name)
        if opened is None:
            return None
        entry: dict[str, Any] = json.loads(opened)
        return entry["value"] if self._clock() < entry["until"] else None

    def add(self, name: str, ttl: float) -> bool:
        """Take a name that nobody has taken, for ``ttl`` seconds; whether it was free."""
        return self._cache.add(name, b"taken", ttl)

    def set(self, name: str, value: dict[str, Any], ttl: float) -> None:
        """Keep a value for ``ttl`` seconds; nothing is kept where that is not positive."""
        if ttl <= 0:
            return
        entry = json.dumps({"value": value, "until": self._clock() + ttl})
        self._cache.set(name, self._sealer.seal(entry.encode(), name), ttl)

    def delete(self, name: str) -> None:
        self._cache.delete(name)

    @contextmanager
    def turn(self, name: str, recall: Callable[[], T | None], patience: float) -> Iterator[T | None]:
        """Take turns with the other processes that share the cache.

        :param recall: what another process may have found out meanwhile.
        :param patience: how long a turn takes at most, in seconds.
        :returns: what was found out, or ``None``: it is our turn.
        :raises OthersTooSlow: where others took longer.
        """
        if not self._cache.shared:
            yield None
            return
        lock = name + ":lock"
        deadline = time.monotonic() + patience
        while not self.add(lock, patience):
            found = recall()
            if found is not None:
                yield found
                return
            if time.monotonic() > deadline:
                raise OthersTooSlow
            time.sleep(LOOK)
        try:
            yield recall()
        finally:
            self._cache.delete(lock)
