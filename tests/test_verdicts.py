"""What counts as the platform's acceptance or refusal, and what says nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro.protocol import CONNECT_PATH, OPEN_API_PATH, USER_PATH
from flask_orbro.verdicts import VERDICT_MEMBERS, Outcome, error_code, read_verdict, retry_after

PATHS = tuple(VERDICT_MEMBERS)
FULL = {"id": "i", "uuid": "u", "organization_id": "o", "role": "HQ", "status": "Activated", "scope": "a b"}
NO_VERDICT = (100, 201, 202, 204, 206, 301, 302, 304, 307, 400, 402, 404, 407, 418, 451, 500, 502, 503, 504)


def read(status: int, body: Any = FULL, path: str = CONNECT_PATH, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_verdict(path, status, headers, raw)


@pytest.mark.parametrize("path", PATHS)
def test_a_documented_200_is_an_acceptance_with_the_documented_members_alone(path: str) -> None:
    verdict = read(200, FULL | {"secret": "more"}, path)
    assert verdict.outcome is Outcome.ACCEPTED
    assert verdict.body == {name: FULL[name] for name in VERDICT_MEMBERS[path]}


@pytest.mark.parametrize("path", PATHS)
def test_a_200_without_one_documented_member_accepts_nobody(path: str) -> None:
    for name in VERDICT_MEMBERS[path]:
        verdict = read(200, {key: value for key, value in FULL.items() if key != name}, path)
        assert (verdict.outcome, verdict.body) == (Outcome.FAULT, None)
        assert name in verdict.reason


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["u"]])
def test_a_member_of_another_type_accepts_nobody(value: Any) -> None:
    for name in VERDICT_MEMBERS[CONNECT_PATH]:
        if (name == "id" and type(value) is int) or (name == "scope" and isinstance(value, list)):
            continue
        assert read(200, FULL | {name: value}).outcome is Outcome.FAULT, name


def test_an_empty_identifier_accepts_nobody() -> None:
    for name in ("uuid", "organization_id"):
        assert read(200, FULL | {name: ""}).outcome is Outcome.FAULT


def test_a_number_as_id_and_a_list_as_scope_are_read_as_text() -> None:
    verdict = read(200, FULL | {"id": 7, "scope": ["read", 1, "write"]})
    assert verdict.body["id"] == "7"
    assert verdict.body["scope"] == "read write"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", PATHS)
def test_a_json_401_or_403_is_a_refusal(status: int, path: str) -> None:
    assert read(status, {}, path).outcome is Outcome.REFUSED
    assert read(status, FULL, path).outcome is Outcome.REFUSED
    assert read(status, {"error_code": "OTHER"}, path).outcome is Outcome.REFUSED


@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_token_is_no_word_about_its_bearer(status: int) -> None:
    assert read(status, {"error_code": "TOKEN_EXPIRED"}).outcome is Outcome.EXPIRED


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b'"x"', b"1", b"{", b"\xff", b"[" * 50_000, b"{}{}", b"9" * 9999]
)
def test_an_answer_that_is_no_json_object_is_a_fault(status: int, body: bytes) -> None:
    assert read(status, body).outcome is Outcome.FAULT


@pytest.mark.parametrize("status", NO_VERDICT)
def test_every_other_status_says_nothing_whatever_its_body(status: int) -> None:
    answered = Outcome.UNDECIDED if 400 <= status < 500 else Outcome.FAULT
    for body, outcome in ((FULL, answered), ({}, answered), (b"", Outcome.FAULT)):
        verdict = read(status, body)
        assert (verdict.outcome, verdict.body) == (outcome, None)


def test_429_is_a_limit_with_the_seconds_it_names() -> None:
    verdict = read(429, b"<html>", **{"retry-after": "7"})
    assert (verdict.outcome, verdict.retry_after) == (Outcome.RATE_LIMITED, 7)
    assert read(429, {}).retry_after is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0", 0), ("120", 120), ("99999", 3600), ("9" * 5000, 3600), ("", None), ("-1", None), ("1.5", None),
     ("²", None), ("\u0661", None), ("1e3", None), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
def test_retry_after_is_a_bounded_number_of_seconds_or_nothing(said: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": said}) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("Wed, 21 Oct 2026 07:27:51 GMT", 9), ("Wed, 21 Oct 2026 07:28:01 GMT", 0),
     ("Mon, 1 Jan 2024 00:00:00 GMT", 3600), ("Wed, 21 Oct 2026 09:27:51 +0200", 9),
     ("Wed, 21 Oct 2026 07:27:51", None), ("", None), ("soon", None)],
)  # fmt: skip
def test_a_retry_after_that_is_a_date_counts_from_the_answers_own(date: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": date}) == seconds


def test_an_answer_without_a_date_was_given_now() -> None:
    now, later = 1_792_567_671, "Wed, 21 Oct 2026 07:28:00 GMT"
    assert retry_after({"retry-after": later}, now) == 9
    assert retry_after({"retry-after": later}, now + 60) == 0
    assert retry_after({"retry-after": later, "date": "Wed, 21 Oct 2026 07:27:00 GMT"}, now) == 60


def test_an_error_code_is_text_or_nothing() -> None:
    assert error_code(b'{"error_code": "X"}') == "X"
    for body in (b"", b"[]", b"{}", b'{"error_code": 1}', b'{"error_code": ["X"]}', b"\xff", b"[" * 50_000):
        assert error_code(body) is None


DOCUMENTS = st.dictionaries(
    st.sampled_from([*FULL, "error_code"]),
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
    | st.just({"a": 1}),
)
BODIES = st.binary(max_size=60) | DOCUMENTS.map(lambda d: json.dumps(d).encode())
HEADERS = st.dictionaries(st.just("retry-after"), st.text(max_size=20))


@given(st.sampled_from(PATHS), st.integers(-1, 1000) | st.sampled_from([200, 401, 403, 429]), HEADERS, BODIES)
def test_no_answer_raises_and_only_the_documented_ones_decide(
    path: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    verdict = read_verdict(path, status, headers, body)
    assert (verdict.body is not None) == (verdict.outcome is Outcome.ACCEPTED)
    if verdict.outcome is Outcome.ACCEPTED:
        assert status == 200
        assert list(verdict.body or ()) == list(VERDICT_MEMBERS[path])
        assert all(isinstance(value, str) for value in (verdict.body or {}).values())
    if verdict.outcome in (Outcome.REFUSED, Outcome.EXPIRED):
        assert status in (401, 403)
        assert isinstance(json.loads(body), dict)
    assert verdict.outcome is not Outcome.FOREIGN
    assert (verdict.outcome is Outcome.RATE_LIMITED) == (status == 429)


def test_the_paths_are_the_platforms_own() -> None:
    assert PATHS == (USER_PATH, CONNECT_PATH, OPEN_API_PATH)
    assert PATHS == ("/api/v1/auth", "/api/v1/connect-auth/token", "/api/v1/oauth/token")
