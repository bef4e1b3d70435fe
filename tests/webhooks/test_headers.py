"""What is kept of a delivery's headers."""

from __future__ import annotations

import jwt
import pytest

from flask_orbro.webhooks.headers import LONGEST, MOST, kept_headers, trace_id


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "X-Auth-Key", "X-API-Key", "apikey", "X-Access-Token",
     "X-Secret", "X-Hub-Signature-256", "X-Session-Id", "X-Password", "X-Webhook-Key", "X-Userpasswd",
     "X-Passwd", "X-Pass", "X-Passcode", "X-Pwd", "X-Passphrase", "X-Jwt", "X-Jwt-Assertion", "X-Bearer",
     "X-Otp", "X-Totp-Code", "X-Hmac", "X-Hmac-Sha256", "X-Webhook-Sign", "X-Sign", "x-sig"],
)  # fmt: skip
def test_what_sounds_like_a_credential_is_not_kept(name: str) -> None:
    assert kept_headers([(name, "v"), ("X-Other", "w")]) == {"X-Other": "w"}


@pytest.mark.parametrize(
    "name",
    ["User-Agent", "Content-Type", "Content-Length", "X-Request-Id", "X-Design", "X-Assigned-To", "X-Compass",
     "X-Bypass-Cache", "X-Signal", "X-Option", "Traceparent", "X-Keyboard", "Accept", "Host"],
)  # fmt: skip
def test_what_does_not_is_kept(name: str) -> None:
    assert kept_headers([(name, "v")]) == {name: "v"}


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
