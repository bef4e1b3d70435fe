"""The cache over Redis, and memory in its place while Redis does not answer."""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..http.forks import ProcessLock
from ..logs import get_logger
from .cache import MemoryCache

logger = get_logger(__name__)

#: How long Redis is waited for, in seconds: to connect, and for an answer.
REDIS_TIMEOUT = 1.0
#: How long memory stands in for a Redis that did not answer, in seconds.
REDIS_REST = 1.0
#: Deletes a name that has this value; in one step, as another client may set it in between.
RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"
#: Beginnings of the connection options that tie a connection to the pool that made it.
_OF_THE_POOL = ("maint_", "oss_", "orig_")


class RedisCache:
    """Over a redis-py client, with or without ``decode_responses``.

    While Redis does not answer, memory stands in: what is kept here may be forgotten, a call may not fail.

    :param client: a ``redis.Redis``; it is left as it is, and asked by a client like it that does not wait.
    :param patience: seconds; it is waited for no longer than :data:`REDIS_TIMEOUT` anyway.
    """

    shared = True
    prefix = "orbro:"

    def __init__(self, client: Any, patience: float = math.inf) -> None:
        self._patience = min(patience, REDIS_TIMEOUT)
        self._client = impatient(client, self._patience)
        self._memory = MemoryCache()
        self._lock = ProcessLock()
        self._rest_until = 0.0

    def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        found = self._ask(lambda: self._client.mget([self.prefix + name for name in names]))
        if found is None:
            return self._memory.get_many(names)
        return [None if value is None else _decoded(value) for value in found]

    def add(self, name: str, value: bytes, ttl: float) -> bool:
        added = self._ask(
            lambda: bool(
                self._client.set(self.prefix + name, _encoded(value), px=_milliseconds(ttl), nx=True)
            )
        )
        return self._memory.add(name, value, ttl) if added is None else bool(added)

    def set(self, name: str, value: bytes, ttl: float) -> None:
        if not self._ask(
            lambda: self._client.set(self.prefix + name, _encoded(value), px=_milliseconds(ttl))
        ):
            self._memory.set(name, value, ttl)

    def delete(self, name: str) -> None:
        self._memory.delete(name)
        self._ask(lambda: self._client.delete(self.prefix + name))

    def release(self, name: str, value: bytes) -> None:
        self._memory.release(name, value)
        self._ask(lambda: self._client.eval(RELEASE, 1, self.prefix + name, _encoded(value)))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """The client's answer, or ``None`` while it gives none."""
        import redis

        if not self._may_ask():
            return None
        try:
            answer = question()
        except UnicodeDecodeError:  # a client with ``decode_responses``, and bytes that are not ours
            return None
        except (redis.RedisError, OSError) as error:
            if self._begin_rest():
                logger.warning("Redis does not answer (%s); memory stands in.", type(error).__name__)
            return None
        self._rest_until = 0.0
        return answer

    def _may_ask(self) -> bool:
        if not self._rest_until:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._rest_until:
                return False
            if self._rest_until:
                # Whoever comes now finds out whether it is back; the others do not wait for that.
                self._rest_until = now + self._patience + REDIS_REST
            return True

    def _begin_rest(self) -> bool:
        """Ask nothing for a while. :returns: whether nobody else has found out before."""
        with self._lock:
            is_first = not self._rest_until
            # From now on: the client may have tried for longer than the rest is.
            self._rest_until = time.monotonic() + REDIS_REST
            return is_first


def _encoded(value: bytes) -> str:
    # As text, so that clients with ``decode_responses`` read it too.
    return base64.b64encode(value).decode()


def _decoded(value: str | bytes) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def redis_cache_from_url(url: str, patience: float = math.inf) -> RedisCache:
    """:raises ImportError: without the ``redis`` extra."""
    import redis

    return RedisCache(redis.Redis.from_url(url, health_check_interval=30), patience)


def impatient(client: Any, patience: float) -> Any:
    """A client that connects as this one does, and waits no longer than some seconds.

    :returns: the client itself where its likeness cannot be made, as of a cluster, of Sentinel or of a
        class that somebody else wrote.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    pool: Any = getattr(client, "connection_pool", None)
    if type(client) is not redis.Redis or type(pool) not in (
        redis.ConnectionPool,
        redis.BlockingConnectionPool,
    ):
        logger.warning(
            "This Redis client (%s) is used as it is: where Redis hangs, requests wait for as long as its "
            "timeouts and retries say. Give it a socket_timeout and a socket_connect_timeout of a second, "
            "and few retries.",
            type(client if type(client) is not redis.Redis else pool).__qualname__,
        )
        return client
    options = {k: v for k, v in pool.connection_kwargs.items() if not k.startswith(_OF_THE_POOL)}
    options |= {
        "connection_class": pool.connection_class,
        "max_connections": pool.max_connections,
        "protocol": 2,  # the messages of the newer one prolong timeouts
        "socket_timeout": _at_most(patience, options.get("socket_timeout")),
        "socket_connect_timeout": _at_most(patience, options.get("socket_connect_timeout")),
        # Once more where a connection was closed meanwhile; never after a timeout.
        "retry": Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        "retry_on_error": [redis.ConnectionError],
        "retry_on_timeout": False,
    }
    if type(pool) is redis.BlockingConnectionPool:
        options |= {"timeout": _at_most(patience, pool.timeout), "queue_class": pool.queue_class}
    return redis.Redis.from_pool(type(pool)(**options))


def _at_most(most: float, seconds: float | None) -> float:
    return most if seconds is None else min(seconds, most)
