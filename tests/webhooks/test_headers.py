"""What is kept of a delivery's headers."""

from __future__ import annotations

import jwt
import pytest

from flask_orbro.webhooks.headers import LONGEST, MOST, kept_headers, trace_id


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "X-Auth-Key", "X-API-Key", "apikey", "X-Access-Token",
     "X-Secret", "X-Hub-Signature-256", "X-Session-Id", "X-Password", "X-Webhook-Key"],
)  # fmt: skip
def test_what_sounds_like_a_credential_is_not_kept(name: str) -> None:
    assert kept_headers([(name, "v"), ("X-Other", "w")]) == {"X-Other": "w"}


def test_a_credential_in_another_header_is_gone() -> None:
    token = jwt.encode({"a": 1}, "k" * 40, algorithm="HS256")
    kept = kept_headers([("Referer", f"https://x.example/?t={token}"), ("X-Note", "Bearer abcdefgh")])
    assert token not in str(kept)
    assert "abcdefgh" not in str(kept)


def test_only_so_many_and_so_much_of_each() -> None:
    kept = kept_headers([(f"X-{number}", "v" * 5000) for number in range(200)])
    assert len(kept) == MOST
    assert {len(value) for value in kept.values()} == {LONGEST}


def test_a_request_id_that_looks_like_a_token_is_no_trace() -> None:
    token = jwt.encode({}, "k" * 40, algorithm="HS256")[:64]
    assert trace_id(None, token) != token
    assert trace_id(None, "r-1") == "r-1"
    assert len({trace_id(None, None) for _ in range(5)}) == 5
