"""What may be forgotten: memory, Redis, and sealing what is kept in either."""

from __future__ import annotations

import base64
import json
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from flask_orbro.storage import open_cache
from flask_orbro.stores.cache import MemoryCache, SealedCache
from flask_orbro.stores.redis_cache import REDIS_REST, RedisCache, redis_cache_from_url

from ..conftest import need_service

SECRET = "the-client-secret-of-this-test-file"
NOW = 1_800_000_000.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[True, False], ids=["text", "bytes"])
def redis_cache(request: pytest.FixtureRequest) -> Iterator[RedisCache]:
    """Over a real Redis, with a prefix of its own."""
    client = redis.Redis(host="127.0.0.1", decode_responses=request.param, socket_timeout=2)
    need_service("Redis", client.ping)
    cache = RedisCache(client)
    cache.prefix = f"orbro-test-{uuid.uuid4().hex}:"
    yield cache
    for key in client.scan_iter(match=cache.prefix + "*"):
        client.delete(key)
    client.close()


def one(cache: Any, name: str) -> bytes | None:
    (found,) = cache.get_many([name])
    return found  # type: ignore[no-any-return]


def test_memory_forgets_when_the_time_is_over(clock: Clock) -> None:
    cache = MemoryCache(timer=clock)
    cache.set("a", b"1", 10)
    cache.set("b", b"2", 20)
    clock.now += 9.9
    assert cache.get_many(["a", "b", "c"]) == [b"1", b"2", None]
    clock.now += 0.1
    assert cache.get_many(["a", "b"]) == [None, b"2"]


def test_memory_replaces_deletes_and_stays_bounded(clock: Clock) -> None:
    cache = MemoryCache(entries=3, timer=clock)
    cache.set("a", b"1", 10)
    cache.set("a", b"2", 100)
    clock.now += 50
    assert one(cache, "a") == b"2"
    cache.delete("a")
    cache.delete("a")
    assert one(cache, "a") is None
    for number in range(100):
        cache.set(str(number), b"x", 10)
    assert sum(found is not None for found in cache.get_many([str(n) for n in range(100)])) == 3


def test_a_name_is_taken_once_until_its_time_is_over(clock: Clock) -> None:
    cache = MemoryCache(timer=clock)
    assert [cache.add("a", b"1", 10), cache.add("a", b"2", 10)] == [True, False]
    clock.now += 10
    assert cache.add("a", b"3", 10)
    assert one(cache, "a") == b"3"


def test_redis_keeps_bytes_with_text_and_bytes_clients(redis_cache: RedisCache) -> None:
    value = bytes(range(256))
    redis_cache.set("a", value, 30)
    assert redis_cache.get_many(["a", "b"]) == [value, None]
    left = redis_cache._client.pttl(redis_cache.prefix + "a")
    assert 28_000 < left <= 30_000
    assert [redis_cache.add("a", b"", 30), redis_cache.add("c", b"", 30)] == [False, True]
    redis_cache.delete("a")
    assert one(redis_cache, "a") is None


def test_redis_forgets_when_the_time_is_over(redis_cache: RedisCache) -> None:
    redis_cache.set("a", b"1", 0.0001)
    redis_cache.set("b", b"2", 0.02)
    time.sleep(0.05)
    assert redis_cache.get_many(["a", "b"]) == [None, None]


@pytest.mark.parametrize("planted", [b"", b"\xff\xfe\x00", "é".encode(), b"!!!", b"AAAA", b"null", b"A"])
def test_what_others_plant_in_redis_is_ignored(redis_cache: RedisCache, clock: Clock, planted: bytes) -> None:
    sealed = SealedCache(redis_cache, SECRET, "token", clock)
    name = sealed.name("o1")
    stranger = redis.Redis(host="127.0.0.1")
    stranger.set(redis_cache.prefix + name, planted, px=10_000)
    stranger.close()
    assert sealed.get(name) is None
    sealed.set(name, {"token": "t"}, 30)
    assert sealed.get(name) == {"token": "t"}
    assert redis_cache._client.get(redis_cache.prefix + name)  # it went to Redis, not beside it


def test_a_value_of_another_type_in_redis_is_ignored(redis_cache: RedisCache, clock: Clock) -> None:
    sealed = SealedCache(redis_cache, SECRET, "token", clock)
    name = sealed.name("o1")
    redis_cache._client.rpush(redis_cache.prefix + name, "x")
    assert sealed.get(name) is None


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def down(closed_port: int) -> Iterator[RedisCache]:
    """Over a Redis that is not there."""
    cache = redis_cache_from_url(f"redis://127.0.0.1:{closed_port}/0")
    yield cache
    cache._client.close()


def test_while_redis_is_down_memory_stands_in_at_once(
    down: RedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    assert one(down, "a") is None
    down.set("a", b"1", 30)
    assert one(down, "a") == b"1"
    assert [down.add("a", b"2", 30), down.add("b", b"2", 30)] == [False, True]
    down.delete("a")
    assert one(down, "a") is None
    assert time.monotonic() - start < 0.5
    assert len([record for record in caplog.records if "Redis" in record.getMessage()]) == 1


def test_a_client_that_tries_for_long_is_asked_once_and_then_rests(closed_port: int) -> None:
    class Slow(redis.Redis):  # type: ignore[misc]
        asked = 0

        def mget(self, *args: Any, **kwargs: Any) -> Any:
            Slow.asked += 1
            time.sleep(REDIS_REST + 0.1)
            return super().mget(*args, **kwargs)

    client = Slow(port=closed_port, retry=Retry(NoBackoff(), 0))
    cache = RedisCache(client)
    for _ in range(10):
        assert one(cache, "a") is None
    assert Slow.asked == 1
    client.close()


def test_redis_is_used_again_once_it_is_back(redis_cache: RedisCache, closed_port: int) -> None:
    there = redis_cache._client
    redis_cache._client = redis.Redis(port=closed_port, retry=Retry(NoBackoff(), 0))
    redis_cache.set("a", b"1", 30)
    redis_cache._client.close()
    redis_cache._client = there
    assert one(redis_cache, "a") == b"1"  # from memory: it rests
    time.sleep(REDIS_REST)
    redis_cache.set("a", b"2", 30)
    assert there.get(redis_cache.prefix + "a") is not None
    assert one(redis_cache, "a") == b"2"


@pytest.fixture
def medium(clock: Clock) -> MemoryCache:
    return MemoryCache(timer=clock)


@pytest.fixture
def sealed(medium: MemoryCache, clock: Clock) -> SealedCache:
    return SealedCache(medium, SECRET, "token", clock)


def test_a_sealed_value_is_read_until_its_time_is_over(sealed: SealedCache, clock: Clock) -> None:
    name = sealed.name("o1", "x")
    sealed.set(name, {"token": "t"}, 10)
    assert sealed.get_many([name, "other"]) == [{"token": "t"}, None]
    clock.now += 10
    assert sealed.get(name) is None


@pytest.mark.parametrize("ttl", [0, -1, -1e9])
def test_nothing_is_kept_for_no_time(sealed: SealedCache, ttl: float) -> None:
    sealed.set("a", {"token": "t"}, ttl)
    assert sealed.get("a") is None


def test_a_medium_that_keeps_too_long_prolongs_nothing(clock: Clock) -> None:
    medium = MemoryCache(timer=lambda: 0.0)
    sealed = SealedCache(medium, SECRET, "token", clock)
    sealed.set("a", {"token": "t"}, 10)
    clock.now += 10
    assert one(medium, "a") is not None
    assert sealed.get("a") is None


def test_an_entry_that_was_changed_or_moved_is_ignored(sealed: SealedCache, medium: MemoryCache) -> None:
    sealed.set("a", {"token": "t"}, 10)
    kept = one(medium, "a")
    assert kept is not None
    medium.set("b", kept, 10)
    assert sealed.get("b") is None
    for position in range(len(kept)):
        changed = bytearray(kept)
        changed[position] ^= 1
        medium.set("a", bytes(changed), 10)
        assert sealed.get("a") is None
    for cut in range(len(kept)):
        medium.set("a", kept[:cut], 10)
        assert sealed.get("a") is None
    medium.set("a", kept, 10)
    assert sealed.get("a") == {"token": "t"}


def test_an_entry_of_another_secret_or_purpose_is_ignored(medium: MemoryCache, clock: Clock) -> None:
    SealedCache(medium, SECRET, "verdict", clock).set("a", {"outcome": "accepted"}, 10)
    assert SealedCache(medium, SECRET, "token", clock).get("a") is None
    assert SealedCache(medium, SECRET + "x", "verdict", clock).get("a") is None
    assert SealedCache(medium, SECRET, "verdict", clock).get("a") == {"outcome": "accepted"}


def test_a_name_tells_nothing_to_who_has_not_the_secret(medium: MemoryCache, clock: Clock) -> None:
    """Whoever reads the medium, and guesses what is kept, cannot tell that it is."""
    secrets = (SECRET, SECRET + "x", "", "x")
    sealed = [SealedCache(medium, secret, purpose, clock) for secret in secrets for purpose in ("a", "b")]
    digests = [cache.name("o1").partition(":")[2] for cache in sealed]
    assert len(set(digests)) == len(sealed)
    assert digests[0] == SealedCache(medium, SECRET, "a", clock).name("o1").partition(":")[2]


def test_a_plain_entry_is_ignored(sealed: SealedCache, medium: MemoryCache) -> None:
    planted = json.dumps({"value": {"token": "evil"}, "until": NOW + 1000}).encode()
    for forged in (planted, base64.b64encode(planted), b"\x00" * 12 + planted):
        medium.set("a", forged, 10)
        assert sealed.get("a") is None


def test_neither_names_nor_values_show_what_is_kept(redis_cache: RedisCache, clock: Clock) -> None:
    sealed = SealedCache(redis_cache, SECRET, "token", clock)
    name = sealed.name("organization-1", "shared-secret")
    sealed.set(name, {"token": "header.payload.signature"}, 10)
    client = redis.Redis(host="127.0.0.1")
    shown = b""
    for key in client.scan_iter(match=redis_cache.prefix + "*"):
        value = client.get(key)
        assert isinstance(value, bytes)
        shown += key + value + base64.b64decode(value)
    client.close()
    assert shown
    for secret in (b"organization-1", b"shared-secret", b"header.payload", b"signature", SECRET.encode()):
        assert secret not in shown


def test_two_processes_of_one_app_read_each_other(redis_cache: RedisCache, clock: Clock) -> None:
    one_process, other = (SealedCache(redis_cache, SECRET, "token", clock) for _ in range(2))
    one_process.set(one_process.name("o1"), {"token": "t"}, 10)
    assert other.get(other.name("o1")) == {"token": "t"}


def test_memory_can_be_asked_for_by_name() -> None:
    assert isinstance(open_cache(None, "memory://", patience=1), MemoryCache)
