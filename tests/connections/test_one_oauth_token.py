"""However many threads and processes call over an expiry, one token is asked for at each renewal."""

from __future__ import annotations

import multiprocessing
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import redis

from flask_orbro import ConnectionMisconfigured
from flask_orbro.connections import Connection

from ..conftest import need_service
from ..peers import Oidc

REDIS = "redis://127.0.0.1:6379/0"
PROCESSES, THREADS = 2, 64
#: A token's life, and how long before its end it is renewed, in seconds.
LIFE, LEEWAY = 5, 1
#: Ends in the middle of the third token's life.
DURATION = 2.5 * (LIFE - LEEWAY)


def definition(oidc: Oidc, notes_url: str, **more: Any) -> dict[str, Any]:
    return {
        "url": notes_url,
        "auth": {
            "kind": "oauth2_client_credentials",
            "token_url": oidc.token_url,
            "client_id": oidc.CLIENT,
            "client_secret": {"config": "SECRET"},
            "scopes": "notes",
            "leeway": LEEWAY,
        },
        **more,
    }


def call_from_process(
    definition: dict[str, Any], secret: str, shared: bool, start: Any, results: Any
) -> None:
    """One process: every thread calls now and again; it notes the answers, and the tokens that were shown."""
    client = redis.Redis.from_url(REDIS) if shared else None
    connection = Connection("notes", definition, config={"SECRET": secret}, redis=client)
    statuses: list[int] = []
    shown: set[str] = set()
    start.wait()
    until = time.monotonic() + DURATION

    def call() -> None:
        while time.monotonic() < until:
            response = connection.get("/notes")
            statuses.append(response.status_code)
            shown.add(response.request.headers["Authorization"])
            time.sleep(0.5)

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((statuses, shown))
    connection.close()
    if client is not None:
        client.close()


@pytest.mark.parametrize("shared", [True, False], ids=["Redis", "memory"])
def test_one_token_is_asked_for_at_each_renewal(oidc: Oidc, notes_url: str, shared: bool) -> None:
    if shared:
        need_service("Redis", lambda: redis.Redis.from_url(REDIS).ping())
    oidc.set_life(LIFE)
    before = oidc.counts()["issued"]
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    # A header of its own: what another run has left in Redis is of another definition.
    given = definition(oidc, notes_url, headers={"X-Run": uuid.uuid4().hex})
    processes = [
        context.Process(target=call_from_process, args=(given, oidc.SECRET, shared, start, results))
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            process.start()
        found = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(timeout=30)
            assert process.exitcode == 0
    finally:
        oidc.set_life(600)
    assert {status for statuses, _ in found for status in statuses} == {200}
    assert all(len(statuses) > 2 * THREADS for statuses, _ in found)
    one, other = (shown for _, shown in found)
    assert len(one) == len(other) == 3
    assert one == other if shared else not one & other
    assert oidc.counts()["issued"] - before == (3 if shared else 3 * PROCESSES)


@contextmanager
def connected(oidc: Oidc, notes_url: str, **auth: Any) -> Iterator[Connection]:
    given = definition(oidc, notes_url)
    given["auth"] |= auth
    with closing(
        Connection("notes", given, config={"SECRET": oidc.SECRET, "WRONG": "guessed"})
    ) as connection:
        yield connection


@pytest.mark.parametrize("client_auth", ["basic", "post"])
def test_a_token_that_is_revoked_in_mid_life_is_replaced_after_one_401(
    oidc: Oidc, notes_url: str, client_auth: str
) -> None:
    before = oidc.counts()
    with connected(oidc, notes_url, client_auth=client_auth) as notes:
        made = notes.post("/notes", json={"text": "kept"})
        assert made.status_code == 201
        oidc.revoke(made.request.headers["Authorization"].removeprefix("Bearer "))
        answers = [notes.get("/notes") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert made.json() in answers[0].json()
    assert made.request.headers["Authorization"] != answers[0].request.headers["Authorization"]
    after = oidc.counts()
    assert [after[name] - before[name] for name in ("issued", client_auth)] == [2, 2]


def test_a_scope_that_is_not_enough_is_no_reason_for_another_token(oidc: Oidc, notes_url: str) -> None:
    before = oidc.counts()["issued"]
    with connected(oidc, notes_url, scopes="patients") as notes:
        assert [notes.get("/notes").status_code for _ in range(3)] == [403] * 3
    assert oidc.counts()["issued"] - before == 1


@pytest.mark.parametrize("changed", [{"client_secret": {"config": "WRONG"}}, {"client_id": "nobody"}])
@pytest.mark.parametrize("client_auth", ["basic", "post"])
def test_a_client_that_the_server_does_not_know_is_named_and_asked_about_once(
    oidc: Oidc, notes_url: str, changed: dict[str, Any], client_auth: str
) -> None:
    before = oidc.counts()["refused"]
    with connected(oidc, notes_url, client_auth=client_auth, **changed) as notes:
        for _ in range(5):
            with pytest.raises(ConnectionMisconfigured, match=r"'notes' gets no token: .*\(invalid_client\)"):
                notes.get("/notes")
    assert oidc.counts()["refused"] - before == 1
