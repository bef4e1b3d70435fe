"""Tokens of OAuth client credentials: opaque, renewed in time, asked for as seldom as can be."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote_plus

import pytest

from flask_orbro import (
    ConnectionFailed,
    ConnectionMisconfigured,
    ConnectionRateLimited,
    ConnectionUnavailable,
)
from flask_orbro.stores.cache import MemoryCache

from .backend import Backend, running_backend
from .calls import CLIENT, Calls


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


MakeCalls = Callable[..., Calls]


@pytest.fixture(params=["sync", "async"])
def make_calls(request: pytest.FixtureRequest, backend: Backend) -> MakeCalls:
    return lambda **options: Calls(request.param, backend, **options)


def test_a_token_is_asked_for_once_and_shown_in_every_call(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls()
    assert [call() for _ in range(5)] == [200] * 5
    assert backend.tokens == ["token-0"]


@pytest.mark.parametrize("client_auth", ["basic", "post"])
def test_the_client_shows_who_it_is_as_the_definition_says(
    backend: Backend, make_calls: MakeCalls, client_auth: str
) -> None:
    call = make_calls(client_auth=client_auth, scopes=["a", "b:c"], audience="https://x", resource="urn:y")
    assert call() == 200
    [(target, headers, body)] = backend.paths("/token")
    form = {name: value for name, [value] in parse_qs(body.decode()).items()}
    expected = {
        "grant_type": "client_credentials",
        "scope": "a b:c",
        "audience": "https://x",
        "resource": "urn:y",
    }
    pair = base64.b64encode(f"{quote_plus(CLIENT)}:{quote_plus(backend.secret)}".encode()).decode()
    if client_auth == "basic":
        assert (form, headers["Authorization"]) == (expected, f"Basic {pair}")
    else:
        assert form == expected | {"client_id": CLIENT, "client_secret": backend.secret}
        assert "Authorization" not in headers
    assert (target, headers["Accept"]) == ("/token", "application/json")
    assert headers["User-Agent"] == "flask-orbro"


def test_a_token_is_renewed_before_it_expires(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls()
    call()
    for ahead, made in ((569, 1), (571, 2), (1139, 2), (1142, 3)):
        call.clock.ahead = ahead
        assert (call(), len(backend.tokens)) == (200, made)


@pytest.mark.parametrize(
    ("told", "life"),
    [
        ({}, 300),
        ({"expires_in": None}, 300),
        ({"expires_in": "soon"}, 300),
        ({"expires_in": -1}, 300),
        ({"expires_in": 0}, 300),
        ({"expires_in": True}, 300),
        ({"expires_in": [3600]}, 300),
        ({"expires_in": "3600"}, 3600),
        ({"expires_in": 3600.5}, 3600),
        ({"expires_in": "nan"}, 300),
        ({"expires_in": "inf"}, 86_400),
        ({"expires_in": 1e300}, 86_400),
        ({"expires_in": 10**400}, 300),
        ({"expires_in": 20}, 40),
    ],
)
def test_a_life_that_is_missing_or_wrong_is_handled(
    backend: Backend, make_calls: MakeCalls, told: dict[str, Any], life: float
) -> None:
    backend.told = told
    call = make_calls()
    call()
    # A short life is halved rather than used up by the leeway.
    for ahead, made in ((life - 31 if life > 60 else 9, 1), (life - 29, 2)):
        call.clock.ahead = ahead
        assert (call(), len(backend.tokens)) == (200, made)


def test_a_revoked_token_is_replaced_after_one_401(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls()
    call()
    backend.revoke()
    before = len(backend.paths("/guarded"))
    assert call() == 200
    assert (len(backend.paths("/guarded")) - before, len(backend.paths("/token"))) == (2, 2)


def test_a_back_end_that_refuses_every_token_starts_no_storm(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls()
    backend.refuse_all = True
    assert [call() for _ in range(5)] == [401] * 5
    assert len(backend.paths("/token")) == 2
    call.clock.ahead = 11
    backend.refuse_all = False
    backend.revoke()
    assert call() == 200


def test_a_token_url_that_gives_the_same_token_again_is_not_a_renewal(
    backend: Backend, make_calls: MakeCalls
) -> None:
    good = json.dumps({"access_token": "always-the-same"})
    backend.token_answers = [(200, good, {})] * 2
    call = make_calls()
    assert call() == 401
    assert len(backend.paths("/guarded")) == 1


def test_only_a_401_renews(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls()
    assert [call(f"/status/{status}") for status in (400, 403, 404)] == [400, 403, 404]
    assert len(backend.paths("/token")) == 1


def test_a_wrong_secret_is_named_and_asked_about_once(
    backend: Backend, make_calls: MakeCalls, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "a-wrong-secret"
    call = make_calls(secret=wrong)
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            with pytest.raises(
                ConnectionMisconfigured, match=r"'notes' gets no token.*401 \(invalid_client\)"
            ) as e:
                call()
            assert wrong not in str(vars(e.value)) + repr(e.value) + json.dumps(e.value.data)
            assert (e.value.code, e.value.connection) == (502, "notes")
    assert len(backend.paths("/token")) == 1
    assert backend.paths("/guarded") == []
    assert wrong not in caplog.text
    call.clock.ahead = 11
    with pytest.raises(ConnectionMisconfigured):
        call()
    assert len(backend.paths("/token")) == 2


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((400, '{"error": "invalid_scope"}', {}), ConnectionMisconfigured, r"400 \(invalid_scope\)"),
        ((400, '{"error": "<script>"}', {}), ConnectionMisconfigured, r"400 \(no error code\)"),
        ((404, "<html>", {}), ConnectionMisconfigured, r"404 \(no error code\)"),
        ((429, "{}", {"Retry-After": "7"}), ConnectionRateLimited, "limits requests"),
        ((500, '{"error": "server_error"}', {}), ConnectionUnavailable, "answered 500"),
        ((302, "", {"Location": "http://127.0.0.1:9/"}), ConnectionUnavailable, "answered 302"),
        ((200, "", {}), ConnectionUnavailable, "gave no token"),
        ((200, "[]", {}), ConnectionUnavailable, "gave no token"),
        ((200, "[" * 50_000, {}), ConnectionUnavailable, "gave no token"),
        ((200, '{"access_token": 7}', {}), ConnectionUnavailable, "gave no token"),
        ((200, '{"access_token": ""}', {}), ConnectionUnavailable, "gave no token"),
        ((200, '{"access_token": "a\\nX-Evil: b"}', {}), ConnectionUnavailable, "gave no token"),
        ((200, '{"access_token": "t", "token_type": "mac"}', {}), ConnectionMisconfigured, "bearer"),
        ((200, json.dumps({"access_token": "t" * 100_000}), {}), ConnectionUnavailable, "answer_too_long"),
    ],
)
def test_a_token_url_that_gives_none_is_a_typed_error(
    backend: Backend,
    make_calls: MakeCalls,
    answer: tuple[int, str, dict[str, str]],
    error: type[ConnectionFailed],
    words: str,
) -> None:
    backend.token_answers = [answer] * 2
    call = make_calls()
    with pytest.raises(error, match=words):
        call()
    with pytest.raises(error, match=words):
        call()
    assert len(backend.paths("/token")) == 1
    assert len(backend.seen) == 1
    backend.token_answers.clear()
    call.clock.ahead = 11
    assert call() == 200


def test_a_token_url_that_does_not_answer_is_a_typed_error(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls(token_url="http://127.0.0.1:9/token")
    with pytest.raises(ConnectionUnavailable, match="token URL does not answer: the connection is refused"):
        call()
    assert backend.seen == []


def test_a_token_that_cannot_be_renewed_in_time_is_used_up(backend: Backend, make_calls: MakeCalls) -> None:
    call = make_calls()
    call()
    backend.token_answers = [(500, "{}", {})] * 3
    call.clock.ahead = 580
    assert call() == 200
    call.clock.ahead = 601
    with pytest.raises(ConnectionUnavailable):
        call()


def test_a_changed_definition_never_shows_the_old_token(backend: Backend, make_calls: MakeCalls) -> None:
    cache = MemoryCache()
    for changed in ({}, {"scopes": "a"}, {"client_auth": "post"}, {}):
        make_calls(cache=cache, **changed)("/status/200")
    shown = [headers["Authorization"] for _, headers, _ in backend.paths("/status/200")]
    assert shown == [f"Bearer token-{number}" for number in (0, 1, 2, 0)]


def test_what_is_kept_shows_neither_token_nor_secret(backend: Backend, make_calls: MakeCalls) -> None:
    kept: list[tuple[str, bytes]] = []

    class Watched(MemoryCache):
        def set(self, name: str, value: bytes, ttl: float) -> None:
            kept.append((name, value))
            super().set(name, value, ttl)

    make_calls(cache=Watched())()
    [(name, value)] = kept
    for told in ("token-0", backend.secret, CLIENT, "notes"):
        assert told not in name
        assert told.encode() not in value
