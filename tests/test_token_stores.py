"""The old SDK's token stores, by their names."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis
from flask import Flask

from flask_orbro import ConnectAppToken, DictTokenDataStore, OrbroConnect, RedisTokenDataStore
from flask_orbro.errors import NotInitializedError

from .conftest import need_service

TOKEN = ConnectAppToken("o1", "a-token-of-some-length")


@pytest.fixture(params=[True, False], ids=["text", "bytes"])
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    client = redis.Redis(host="127.0.0.1", decode_responses=request.param)
    need_service("Redis", client.ping)
    before = set(client.scan_iter(match="orbro:*"))
    yield client
    for key in set(client.scan_iter(match="orbro:*")) - before:
        client.delete(key)
    client.close()


def works(store: DictTokenDataStore | RedisTokenDataStore) -> None:
    assert store.get_token("o1") is None
    for given in (TOKEN, {"organization_id": "o1", "access_token": TOKEN.access_token}):
        store.set_token(given)
        assert store.get_token("o1") == TOKEN
        store.delete("o1")
        assert (store.get_token("o1"), store.get("o1")) == (None, None)
    store.set("o1", TOKEN.access_token, 1_800_000)
    assert store.get("o1") == TOKEN.access_token
    store.set_token(TOKEN, 30)  # milliseconds
    time.sleep(0.05)
    assert store.get_token("o1") is None
    store.delete("o1")


def test_tokens_in_memory() -> None:
    works(DictTokenDataStore())
    one, other = DictTokenDataStore(), DictTokenDataStore()
    one.set_token(TOKEN)
    assert other.get_token("o1") is None


def test_tokens_in_redis_are_sealed(client: redis.Redis) -> None:
    secret = uuid.uuid4().hex
    works(RedisTokenDataStore(client, client_secret=secret))
    before = set(client.scan_iter(match="orbro:*"))
    RedisTokenDataStore(client, client_secret=secret).set_token(TOKEN)
    kept = set(client.scan_iter(match="orbro:*")) - before
    assert len(kept) == 1
    assert TOKEN.access_token not in str(client.get(kept.pop()))
    assert RedisTokenDataStore(client, client_secret="another").get_token("o1") is None


def test_in_an_app_they_are_those_of_the_app(client: redis.Redis, make_app: Callable[..., Flask]) -> None:
    with pytest.raises(NotInitializedError):
        RedisTokenDataStore(client)
    orbro = OrbroConnect(redis=client)
    with make_app(orbro, ORBRO_CLIENT_SECRET=uuid.uuid4().hex).app_context():
        RedisTokenDataStore(client).set_token(TOKEN)
        assert orbro.token_store.get_token("o1") == TOKEN
        orbro.token_store.delete("o1")
        assert RedisTokenDataStore(client).get_token("o1") is None
