"""Webhook tokens: everything that must not pass, and reading claims that nobody has verified."""

from __future__ import annotations

import base64
import hmac
import json
import string
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro.protocol import MAX_TOKEN, TokenError, peek_claims
from flask_orbro.webhook_token import WebhookRules, WebhookSubject, read_webhook_token

SECRET = "a-shared-secret-of-32-characters!"
NOW = 1_800_000_000.0
RULES = WebhookRules(leeway=10, require_exp=True, max_life=3600)
GOOD = {"issued_by": "meta-platform-webhook", "sub": "organizationId:o1", "exp": NOW + 300}


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: Any, secret: str | bytes = SECRET, header: Any = None, digest: str = "sha256") -> str:
    """A token of any claims and any header, whole or broken, with a true HMAC."""
    unsigned = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{unsigned}.{part(hmac.digest(key, unsigned.encode(), digest))}"


def verified(token: str, secret: str = SECRET, rules: WebhookRules = RULES) -> dict[str, Any]:
    """The claims of a token, where everything about it is right."""
    read = read_webhook_token(token)
    if not read.is_signed_with(secret):
        raise TokenError("signature")
    read.check(now=NOW, rules=rules)
    return dict(read.claims)


def reason_for(token: str, secret: str = SECRET, rules: WebhookRules = RULES) -> str:
    with pytest.raises(TokenError) as caught:
        verified(token, secret, rules)
    assert token not in str(caught.value)
    return caught.value.reason


def with_claims(**changes: Any) -> str:
    return signed(GOOD | changes)


def test_a_good_token_gives_its_claims() -> None:
    assert verified(signed(GOOD)) == GOOD


def test_another_key_is_a_wrong_signature_so_that_another_secret_may_be_tried() -> None:
    assert reason_for(signed(GOOD, "another-secret-of-32-characters!!")) == "signature"
    header, payload, signature = signed(GOOD).split(".")
    assert reason_for(f"{header}.{payload}.") == "signature"
    changed = part(GOOD | {"sub": "organizationId:o2"})
    assert reason_for(f"{header}.{changed}.{signature}") == "signature"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_claims_are_utf_8_and_nothing_else(encoding: str) -> None:
    assert reason_for(signed(json.dumps(GOOD).encode(encoding))) == "malformed"
    assert reason_for(signed(GOOD, header='{"alg": "HS256"}'.encode(encoding))) == "malformed"


def test_no_algorithm_but_hs256_is_taken() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    long_secret = SECRET * 2
    for token in (
        jwt.encode(GOOD, "", algorithm="none"),
        jwt.encode(GOOD, pem, algorithm="RS256"),
        jwt.encode(GOOD, long_secret, algorithm="HS512"),
        jwt.encode(GOOD, long_secret, algorithm="HS384"),
        signed(GOOD, long_secret, header={"alg": "NONE"}),
        signed(GOOD, long_secret, header={"alg": "hs256"}),
        signed(GOOD, long_secret, header={"alg": "HS512"}),
    ):
        assert reason_for(token, long_secret) == "algorithm"


def test_a_public_key_is_not_taken_as_an_hmac_secret() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert reason_for(signed(GOOD, pem.decode()), pem.decode()) == "signature"


@pytest.mark.parametrize("algorithm", [None, 1, [], {}, ["HS256"], {"HS256": 1}, True, "", "HS256\n"])
def test_an_algorithm_of_another_type_is_refused(algorithm: Any) -> None:
    assert reason_for(signed(GOOD, header={"alg": algorithm})) == "algorithm"


def test_a_short_key_verifies_nothing() -> None:
    # As any secret that did not sign it: another one may have.
    assert reason_for(signed(GOOD, "short"), "short") == "signature"
    assert reason_for(signed(GOOD, ""), "") == "signature"


@pytest.mark.parametrize("issuer", [None, "", "meta-platform-connect", "META-PLATFORM-WEBHOOK", 1, [], {}])
def test_only_the_webhook_issuer_is_taken(issuer: Any) -> None:
    expected = "issuer" if isinstance(issuer, str) else "issued_by_not_text"
    assert reason_for(with_claims(issued_by=issuer)) == expected


def test_a_token_without_an_issuer_is_refused() -> None:
    assert reason_for(signed({name: GOOD[name] for name in ("sub", "exp")})) == "issued_by_not_text"


@pytest.mark.parametrize(
    ("expires", "reason"),
    [
        (NOW - 10, "expired"),
        (NOW - 86_400, "expired"),
        (0, "expired"),
        (-1, "expired"),
        (NOW + 3611, "exp_too_far"),
        (NOW + 100 * 365 * 86_400, "exp_too_far"),
        (1e12, "exp_not_a_time"),
        (10**30, "exp_not_a_time"),
        (-(10**30), "exp_not_a_time"),
        (True, "exp_not_a_time"),
        (None, "exp_not_a_time"),
        (str(int(NOW + 300)), "exp_not_a_time"),
        ([NOW + 300], "exp_not_a_time"),
        ({}, "exp_not_a_time"),
    ],
)
def test_an_expiry_must_be_a_time_near_enough(expires: Any, reason: str) -> None:
    assert reason_for(with_claims(exp=expires)) == reason


def test_times_within_the_leeway_are_taken() -> None:
    for changes in ({"exp": NOW - 9}, {"exp": NOW + 3610}, {"iat": NOW + 10}, {"nbf": NOW + 10}):
        assert verified(with_claims(**changes))


def test_a_missing_expiry_is_taken_only_where_the_rules_say_so() -> None:
    forever = signed({name: GOOD[name] for name in ("issued_by", "sub")})
    assert reason_for(forever) == "exp_missing"
    lax = WebhookRules(require_exp=False)
    assert verified(forever, rules=lax)
    assert reason_for(with_claims(exp=NOW - 60), rules=lax) == "expired"
    assert reason_for(with_claims(exp=None), rules=lax) == "exp_not_a_time"


@pytest.mark.parametrize(("name", "reason"), [("iat", "issued_in_future"), ("nbf", "not_yet_valid")])
def test_a_token_of_the_future_is_refused(name: str, reason: str) -> None:
    assert reason_for(with_claims(**{name: NOW + 11})) == reason
    for other in (True, None, "now", 10**30):
        assert reason_for(with_claims(**{name: other})) == f"{name}_not_a_time"


@pytest.mark.parametrize(
    ("number", "reason", "peeked"),
    [
        ("NaN", "malformed", None),
        ("Infinity", "malformed", None),
        ("-Infinity", "malformed", None),
        ("1e400", "exp_not_a_time", float("inf")),
        ("-1e400", "exp_not_a_time", float("-inf")),
        ("9" * 5000, "malformed", None),
    ],
    ids=["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "5000 digits"],
)
def test_numbers_that_are_none_are_refused(number: str, reason: str, peeked: float | None) -> None:
    payload = b'{"issued_by":"meta-platform-webhook","sub":"organizationId:o1","exp":%s}' % number.encode()
    assert reason_for(signed(payload)) == reason
    assert peek_claims(signed(payload)).get("exp") == peeked


def test_a_member_that_comes_twice_is_refused() -> None:
    twice = b'{"issued_by":"meta-platform-webhook","sub":"organizationId:o1","sub":"organizationId:o2"}'
    assert reason_for(signed(twice)) == "malformed"
    assert peek_claims(signed(twice)) == {}
    nested = b'{"issued_by":"meta-platform-webhook","sub":"organizationId:o1","exp":1,"x":{"a":1,"a":2}}'
    assert reason_for(signed(nested)) == "malformed"


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"null", b'"x"', b"{", b"\xff\xfe", b"{}x", b"\x00"])
def test_a_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    assert reason_for(signed(payload)) == "malformed"
    assert peek_claims(signed(payload)) == {}


def test_an_oversized_token_is_refused_unread() -> None:
    long = with_claims(padding="x" * MAX_TOKEN)
    assert reason_for(long) == "too_long"
    assert peek_claims(long) == {}


@pytest.mark.parametrize("bomb", [b"[" * 2900, b'{"a":' * 900, b"[" * 1400 + b"]" * 1400])
def test_deep_json_in_payload_or_header_is_refused(bomb: bytes) -> None:
    in_header = signed(GOOD, header=bomb)
    for token in (signed(bomb), in_header, signed(b'{"sub":' + bomb + b"}")):
        assert len(token) <= MAX_TOKEN
        assert reason_for(token) == "malformed"
        assert peek_claims(token) == (GOOD if token is in_header else {})  # the header is not looked at


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "HS256", "crit": ["b64"], "b64": False}, "malformed"),
        ({"alg": "HS256", "crit": ["b64"], "b64": True}, "malformed"),
        ({"alg": "HS256", "crit": ["exp"]}, "malformed"),
        ({"alg": "HS256", "crit": []}, "malformed"),
        ({"alg": "HS256", "crit": None}, "malformed"),
        ({"alg": "HS256", "b64": False}, "malformed"),
        ({"typ": "JWT"}, "algorithm"),
        ([], "malformed"),
        ("HS256", "malformed"),
        (None, "malformed"),
        (1, "malformed"),
    ],
)
def test_a_strange_header_is_refused(header: Any, reason: str) -> None:
    token = signed(GOOD, header=json.dumps(header).encode())
    assert reason_for(token) == reason
    assert peek_claims(token) == GOOD  # the header is not looked at


@pytest.mark.parametrize("more", [{"kid": 7}, {"typ": "at+jwt"}, {"cty": "JWT"}, {"jku": "http://x"}])
def test_a_header_that_changes_nothing_is_taken(more: dict[str, Any]) -> None:
    token = signed(GOOD, header={"alg": "HS256"} | more)
    assert verified(token) == GOOD


def subject_of(claims: dict[str, Any]) -> WebhookSubject:
    return read_webhook_token(signed(claims)).subject


def test_a_subject_is_an_organization_or_the_older_user_form() -> None:
    assert subject_of({"sub": "organizationId:o:1"}) == WebhookSubject(organization_id="o:1")
    assert subject_of({"sub": "uuid:u1"}) == WebhookSubject(user_id="u1")


@pytest.mark.parametrize(
    "subject",
    [None, 1, True, [], {}, ["organizationId:o1"], "", "o1", "organizationId", "organizationId:", "uuid:",
     "ORGANIZATIONID:o1", " organizationId:o1", "organizationid:o1", ":o1", "other:o1"],
)  # fmt: skip
def test_any_other_subject_is_refused(subject: Any) -> None:
    with pytest.raises(TokenError):
        subject_of({"sub": subject})
    with pytest.raises(TokenError):
        subject_of({})


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "a b", "é", "o1\n", "x" * 256])
def test_a_subject_that_no_install_could_have_named_never_reaches_the_database(value: str) -> None:
    for kind in ("organizationId", "uuid"):
        with pytest.raises(TokenError):
            subject_of({"sub": f"{kind}:{value}"})


@given(st.one_of(st.text(max_size=200), st.text(string.ascii_letters + string.digits + "._-=", max_size=200)))
def test_peeking_never_raises(token: str) -> None:
    assert isinstance(peek_claims(token), dict)


@given(st.binary(max_size=60), st.binary(max_size=120), st.binary(max_size=40))
def test_peeking_at_three_parts_never_raises(header: bytes, payload: bytes, signature: bytes) -> None:
    token = f"{part(header)}.{part(payload)}.{part(signature)}"
    assert isinstance(peek_claims(token), dict)
    assert reason_for(token) in ("malformed", "algorithm", "signature")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["sub", "exp", "iat", "nbf", "issued_by", "data"])


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_any_signed_claims_give_themselves_or_a_token_error(changes: dict[str, Any]) -> None:
    token = signed(GOOD | changes)
    try:
        claims = verified(token)
    except TokenError:
        return
    assert claims["issued_by"] == "meta-platform-webhook"
    assert NOW - 10 < claims["exp"] <= NOW + 3610
