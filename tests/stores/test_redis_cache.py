"""A Redis that hangs, goes and comes back holds nobody up, and loses nothing that matters."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from flask import Flask
from redis.sentinel import Sentinel

from flask_orbro import OrbroConnect, user_required
from flask_orbro.protocol import USER_PATH
from flask_orbro.simulator import SimulatorServer
from flask_orbro.stores import redis_cache
from flask_orbro.stores.cache import MemoryCache, SealedCache
from flask_orbro.stores.redis_cache import RedisCache, redis_cache_from_url
from flask_orbro.stores.verdicts import VerdictStore
from flask_orbro.verdicts import Outcome, Verdict

from ..conftest import CLIENT_ID, bearer, need_service
from ..http.raw_server import black_hole, hanging

SECRET = "the-client-secret-of-this-test-file"
ACCEPTED = Verdict(Outcome.ACCEPTED, body={"uuid": "u1"})
TOKEN = "opaque-token"
#: Shorter than in earnest, in seconds.
TIMEOUT = REST = 0.4
#: How long one question may take where Redis hangs, in seconds: a busy machine needs some, too.
BOUND = TIMEOUT + 0.6


@pytest.fixture(autouse=True)
def _shorter_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_cache, "REDIS_TIMEOUT", TIMEOUT)
    monkeypatch.setattr(redis_cache, "REDIS_REST", REST)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass
class Server:
    """A Redis of our own, which can be stopped as a stuck one is."""

    process: subprocess.Popen[bytes]
    port: int
    tls_port: int
    socket_path: str
    authority: str

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Connections are accepted, by the system, and nobody answers."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_service("redis-server", lambda: subprocess.run(["redis-server", "--version"], check=True))
    folder = tmp_path_factory.mktemp("redis")
    files = {name: str(folder / name) for name in ("authority", "certificate", "key", "socket")}
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(files["authority"])
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    port, tls_port = free_port(), free_port()
    options = {
        "port": port, "tls-port": tls_port, "unixsocket": files["socket"], "bind": "127.0.0.1",
        "tls-ca-cert-file": files["authority"], "tls-auth-clients": "no",
        "tls-cert-file": files["certificate"], "tls-key-file": files["key"],
        "save": "", "dir": folder, "requirepass": "pass",
    }  # fmt: skip
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    with subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(redis.Redis(port=port, password="pass"))
            yield Server(process, port, tls_port, files["socket"], files["authority"])
        finally:
            process.terminate()


def wait_for(client: redis.Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            client.close()
            return
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "it did not start"


#: Ways to reach the server.
WAYS: dict[str, Callable[[Server], redis.Redis]] = {
    "default": lambda server: redis.StrictRedis(port=server.port, password="pass"),
    "text": lambda server: redis.Redis(port=server.port, password="pass", decode_responses=True),
    "resp3": lambda server: redis.Redis(port=server.port, password="pass", protocol=3),
    "no timeouts": lambda server: redis.Redis(
        port=server.port, password="pass", socket_timeout=None, socket_connect_timeout=None
    ),
    "url": lambda server: redis.Redis.from_url(f"redis://:pass@localhost:{server.port}/3?socket_timeout=30"),
    "unix socket": lambda server: redis.Redis(unix_socket_path=server.socket_path, password="pass"),
    "tls": lambda server: redis.Redis(
        port=server.tls_port, password="pass", ssl=True, ssl_ca_certs=server.authority
    ),
    "one connection": lambda server: redis.Redis(
        port=server.port, password="pass", single_connection_client=True
    ),
    "blocking pool": lambda server: redis.Redis(
        connection_pool=redis.BlockingConnectionPool(
            port=server.port, password="pass", max_connections=1, timeout=30
        )
    ),
}


@pytest.fixture(params=WAYS)
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[redis.Redis]:
    made = WAYS[request.param](server)
    made.flushall()
    yield made
    made.close()
    made.connection_pool.disconnect()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_any_client_reaches_the_same_redis(client: redis.Redis) -> None:
    options = dict(client.connection_pool.connection_kwargs)
    cache = RedisCache(client)
    cache.set("a", b"\xff", 30)
    assert client.get(cache.prefix + "a") is not None
    assert cache.get_many(["a", "b"]) == [b"\xff", None]
    assert client.connection_pool.connection_kwargs == options, "the user's own was changed"


def test_a_redis_that_is_stuck_holds_nobody_for_long(client: redis.Redis, server: Server) -> None:
    fresh, used = RedisCache(client), RedisCache(client)
    used.set("a", b"1", 30)
    with server.stuck():
        for cache in (fresh, used):  # one has to connect, the other has a connection already
            with within(BOUND):
                assert cache.get_many(["a"]) == [None]
            with within(0.1):  # what is known is not found out again
                cache.set("a", b"2", 30)
                assert cache.get_many(["a"]) == [b"2"]
    time.sleep(REST)
    assert used.get_many(["a"]) == [b"1"]


@pytest.mark.parametrize("silence", [hanging, black_hole], ids=["hangs", "dropped"])
@pytest.mark.parametrize("text", [True, False])
def test_a_redis_that_never_answers_holds_nobody_for_long(
    silence: Callable[[], AbstractContextManager[int]], text: bool
) -> None:
    with silence() as port:
        for client in (
            redis.StrictRedis(port=port, decode_responses=text),
            redis.Redis.from_url(f"redis://127.0.0.1:{port}", socket_timeout=None, decode_responses=text),
        ):
            cache = RedisCache(client)
            with within(BOUND):
                assert cache.add("a", b"1", 30)
        with within(BOUND):
            assert redis_cache_from_url(f"redis://127.0.0.1:{port}/0?socket_timeout=60").get_many(["a"]) == [
                None
            ]


def test_while_it_is_stuck_one_at_a_time_looks_whether_it_is_back(server: Server) -> None:
    cache = RedisCache(redis.Redis(port=server.port, password="pass"))
    with server.stuck():
        cache.get_many(["a"])
        time.sleep(REST)
        took: list[float] = []

        def look() -> None:
            began = time.monotonic()
            cache.get_many(["a"])
            took.append(time.monotonic() - began)

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(took)[-2] < 0.3


def test_short_timeouts_stay_short(server: Server) -> None:
    client = redis.Redis(port=server.port, password="pass", socket_timeout=0.2)
    cache = RedisCache(client)
    with server.stuck(), within(0.6):
        cache.get_many(["a"])


class Counting(redis.Redis):  # type: ignore[misc]
    """A class that somebody else wrote."""


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Sentinel([("127.0.0.1", 1)]).master_for("m"), "SentinelConnectionPool"),
        (lambda: Counting(port=1), "Counting"),
        (lambda: object(), "object"),
    ],
)
def test_a_client_that_nothing_is_like_is_used_as_it_is_and_warned_of(
    make: Callable[[], Any], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make()
    assert RedisCache(client)._client is client
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"({named})" in caplog.text
    assert "socket_timeout" in caplog.text


def test_usual_clients_are_not_warned_of(client: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    RedisCache(client)
    assert not caplog.records


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest, server: Server) -> Any:
    if request.param == "memory":
        shared = MemoryCache()
        shared.shared = True  # as if other processes saw it
        return shared
    return RedisCache(redis.Redis(port=server.port, password="pass"))


def test_a_turn_that_took_too_long_leaves_the_next_ones_alone(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_orbro.stores.cache.GRACE", 0)
    sealed = SealedCache(cache, SECRET, "verdict", time.time)
    with sealed.turn("a", lambda: None, patience=0.1):
        time.sleep(0.2)
        with sealed.turn("a", lambda: None, patience=30) as found:
            assert found is None  # somebody else's turn now
            inner = cache.get_many(["a:lock"])
        assert inner != [None]
        cache.add("a:lock", b"somebody else's", 30)
    assert cache.get_many(["a:lock"]) == [b"somebody else's"]
    cache.release("a:lock", b"not this")
    assert cache.get_many(["a:lock"]) == [b"somebody else's"]
    cache.release("a:lock", b"somebody else's")
    assert cache.get_many(["a:lock"]) == [None]


def test_who_has_waited_for_all_of_it_does_not_begin_anew(cache: Any) -> None:
    sealed = SealedCache(cache, SECRET, "verdict", time.time)
    asked = []
    with sealed.turn("b", lambda: None, patience=0.3) as mine:
        assert mine is None

        def wait() -> None:
            store = verdict_store(cache)
            with store.turn("b", TOKEN, 0.3) as found:
                asked.append(found)

        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join()
    assert [found.reason for found in asked] == ["waited_too_long"]


def verdict_store(cache: Any, clock: Callable[[], float] = time.time) -> VerdictStore:
    sealed = SealedCache(cache, SECRET, "verdict", clock)
    return VerdictStore(sealed, ttl=30, negative_ttl=5, fault_ttl=1, clock=clock)


def test_what_is_forgotten_while_redis_is_stuck_does_not_come_back_with_it(server: Server) -> None:
    store = verdict_store(RedisCache(redis.Redis(port=server.port, password="pass")))
    name = store.name(USER_PATH, "o1", TOKEN)
    store.remember(name, TOKEN, ACCEPTED, 0)
    with server.stuck():
        # From now on it rests: a stuck one reads later what it is sent.
        assert store.recall(name, TOKEN) == (None, 0)
        store.forget(TOKEN)
    time.sleep(REST)
    known, forgotten = store.recall(name, TOKEN)
    assert known is None
    store.remember(name, TOKEN, ACCEPTED, forgotten)
    assert store.recall(name, TOKEN) == (ACCEPTED, forgotten), "what is asked later counts again"


class SlowHandler(logging.Handler):
    """Writes to where others write, too."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        time.sleep(0.3)


def test_many_who_find_out_at_once_warn_once() -> None:
    start, handler = threading.Barrier(64), SlowHandler()
    redis_cache.logger.addHandler(handler)
    with hanging() as port:
        cache = RedisCache(redis.Redis(port=port))

        def ask() -> None:
            start.wait()
            cache.get_many(["a"])

        threads = [threading.Thread(target=ask) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cache._client.close()
    redis_cache.logger.removeHandler(handler)
    assert handler.messages == ["Redis does not answer (TimeoutError); memory stands in."]


def test_what_is_forgotten_in_redis_does_not_come_back_without_it(server: Server) -> None:
    store = verdict_store(RedisCache(redis.Redis(port=server.port, password="pass")))
    name = store.name(USER_PATH, "o2", TOKEN)
    with server.stuck():
        store.remember(name, TOKEN, ACCEPTED, 0)  # in memory
        assert store.recall(name, TOKEN) == (ACCEPTED, 0)
    time.sleep(REST)
    store.forget(TOKEN)  # in Redis
    with server.stuck():
        assert store.recall(name, TOKEN)[0] is None


def test_a_token_that_is_revoked_while_redis_is_stuck_is_asked_about_again(
    server: Server,
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    tmp_path: Path,
) -> None:
    orbro = OrbroConnect(redis=redis.StrictRedis(port=server.port, password="pass", decode_responses=True))
    app = make_app(orbro)

    @app.get("/me")
    @user_required
    def me() -> str:
        return "in"

    @app.post("/logout")
    def logout() -> str:
        orbro.forget()
        return "out"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    headers = bearer(simulator.platform.user_token("acme"))
    client = app.test_client()

    def call() -> int:
        return client.get("/me", query_string={"origin": origin}, headers=headers).status_code

    assert [call(), call()] == [200, 200]
    assert simulator.platform.counts[USER_PATH] == 1
    simulator.platform.faults.set(USER_PATH, status=401, body={"error_code": "REVOKED"})
    with server.stuck(), within(BOUND):
        assert client.post("/logout", headers=bearer("x")).status_code == 200  # this one finds out
        assert client.post("/logout", headers=headers).status_code == 200
        assert call() == 401
    time.sleep(REST)
    assert call() == 401
