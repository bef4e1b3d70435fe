"""Origins, bearers and minted tokens, as pure functions."""

from __future__ import annotations

import base64
import string

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import HMACAlgorithm

from flask_orbro import protocol
from flask_orbro.protocol import (
    MIN_SECRET,
    TokenError,
    bearer_token,
    is_usable_secret,
    mint_app_token,
    named_expiry,
    organization_origin,
    peek_claims,
    subdomain_label,
    subdomain_of_origin,
    token_expiry,
)

SECRET = "a-shared-secret-of-32-characters!"
NOW = 1_800_000_000.0
HOSTS = st.sampled_from(["orbro.io", "kongmeta.dev", "orbro.localhost:8001"])
SCHEMES = st.sampled_from(["https", "http"])
INNER = string.ascii_lowercase + string.digits + "-"
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(LABELS, SCHEMES, HOSTS)
def test_an_origin_we_build_names_its_subdomain(label: str, scheme: str, host: str) -> None:
    origin = organization_origin(label, scheme=scheme, host=host)
    assert subdomain_of_origin(origin, scheme=scheme, host=host) == label
    assert subdomain_of_origin(origin.upper(), scheme=scheme, host=host) == label


@given(st.text(max_size=90), SCHEMES, HOSTS)
def test_only_one_label_between_scheme_and_host_is_an_origin(middle: str, scheme: str, host: str) -> None:
    found = subdomain_of_origin(f"{scheme}://{middle}.{host}", scheme=scheme, host=host)
    folded = middle.lower()
    is_label = (
        0 < len(middle) <= 63
        and middle.isascii()
        and all(character in INNER for character in folded)
        and folded[0] != "-"
        and folded[-1] != "-"
    )
    assert found == (folded if is_label else None)


@given(st.text(max_size=120))
def test_whatever_passes_is_rebuilt_to_the_very_same_origin(origin: str) -> None:
    found = subdomain_of_origin(origin, scheme="https", host="orbro.io")
    if found is not None:
        assert organization_origin(found, scheme="https", host="orbro.io") == origin.lower()


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "acme",
        "https://orbro.io",
        "https://.orbro.io",
        "http://acme.orbro.io",
        "ftp://acme.orbro.io",
        "//acme.orbro.io",
        "https:/acme.orbro.io",
        "https:\\\\acme.orbro.io",
        "https://acme.orbro.io/",
        "https://acme.orbro.io/path",
        "https://acme.orbro.io?x",
        "https://acme.orbro.io#x",
        "https://acme.orbro.io:443",
        "https://acme.orbro.io:8443",
        "https://acme.orbro.io.",
        "https://acme..orbro.io",
        "https://a.acme.orbro.io",
        "https://evil.example/.orbro.io",
        "https://evil.example?.orbro.io",
        "https://evil.example#.orbro.io",
        "https://evil.example\\.orbro.io",
        "https://user@acme.orbro.io",
        "https://user:pass@acme.orbro.io",
        "https://evil.example:1@acme.orbro.io",
        "https://ac%6de.orbro.io",
        "https://acme%2eorbro.io",
        "https://acme%00.orbro.io",
        "https://acme\x00.orbro.io",
        "https://acme\n.orbro.io",
        "https://acme.orbro.io\n",
        "\nhttps://acme.orbro.io",
        " https://acme.orbro.io",
        "https://acme.orbro.io ",
        "https://acme\t.orbro.io",
        "https://ac me.orbro.io",
        "https://ac_me.orbro.io",
        "https://-acme.orbro.io",
        "https://acme-.orbro.io",
        "https://acmé.orbro.io",
        "https://ac\u212ae.orbro.io",  # the Kelvin sign folds to "k"
        "https://acme\u3002orbro.io",
        "https://\uff41cme.orbro.io",
        "https://acme.evil.io",
        "https://acme.orbro.io.evil.example",
        "https://acmeorbro.io",
        "https://[::1].orbro.io",
        "https://" + "a" * 64 + ".orbro.io",
        "https://" + "a" * 100_000 + ".orbro.io",
        "null",
    ],
)
def test_anything_but_the_exact_form_is_no_origin(origin: str) -> None:
    assert subdomain_of_origin(origin, scheme="https", host="orbro.io") is None


def test_the_configured_port_is_part_of_the_origin() -> None:
    host = "orbro.localhost:8001"
    assert subdomain_of_origin("http://acme.orbro.localhost:8001", scheme="http", host=host) == "acme"
    for other in ("http://acme.orbro.localhost", "http://acme.orbro.localhost:8002"):
        assert subdomain_of_origin(other, scheme="http", host=host) is None


def test_labels_are_folded_and_at_most_63_characters() -> None:
    assert subdomain_label("ACME-1") == "acme-1"
    assert subdomain_label("a" * 63) == "a" * 63
    for wrong in ("", "a" * 64, "a.b", "a_b", "-a", "a-", "a\n", "ä", "\u212a", "a%", "a/", "a:1"):
        assert subdomain_label(wrong) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "bearer abc",
        "BEARER abc",
        "Basic abc",
        "abc",
        "Bearer  abc",
        "Bearer\tabc",
        " Bearer abc",
        "Bearer abc ",
        "Bearer abc\n",
        "Bearer abc def",
        "Bearer abc,Bearer def",
        "Bearer é",
        'Bearer "abc"',
        "Bearer " + "a" * (protocol.MAX_TOKEN + 1),
    ],
)
def test_a_bearer_is_exactly_one_word_after_one_space(header: str) -> None:
    assert bearer_token(header) is None


def test_the_longest_token_still_counts() -> None:
    longest = "a" * protocol.MAX_TOKEN
    assert bearer_token(f"Bearer {longest}") == longest
    assert bearer_token("Bearer a.b-c_d~e+f/g=") == "a.b-c_d~e+f/g="


@given(st.text(max_size=60))
def test_a_bearer_has_no_space_and_no_control(header: str) -> None:
    token = bearer_token(header)
    if token is not None:
        assert header == f"Bearer {token}"
        assert token.isascii()
        assert not set(token) & set(" \t\r\n,")


def test_a_minted_token_carries_the_documented_claims() -> None:
    token = mint_app_token(client_id="me", shared_secret=SECRET, user_id="u1", now=NOW + 0.9, lifetime=1800)
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options=options)
    assert claims == {
        "iss": "me",
        "iat": int(NOW),
        "exp": int(NOW) + 1800,
        "issued_by": "meta-platform-connect",
        "sub": "uuid:u1",
    }
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_without_a_known_user_the_subject_is_left_out() -> None:
    token = mint_app_token(client_id="me", shared_secret=SECRET, user_id=None, now=NOW, lifetime=60)
    assert "sub" not in peek_claims(token)


def test_no_token_is_minted_with_a_short_secret() -> None:
    with pytest.raises(jwt.InvalidKeyError):
        mint_app_token(client_id="me", shared_secret="short", user_id=None, now=NOW, lifetime=60)


def test_the_expiry_of_a_token_is_none_where_it_is_not_a_time() -> None:
    assert token_expiry(jwt.encode({"exp": 5.5}, SECRET)) == 5.5
    assert token_expiry(jwt.encode({"exp": 1e13}, SECRET)) is None
    assert token_expiry(jwt.encode({}, SECRET)) is None
    assert token_expiry("not a token") is None


def test_an_expiry_that_cannot_be_read_is_no_missing_one() -> None:
    for opaque in ("not a token", "a.b.c.d.e", jwt.encode({}, SECRET)):
        assert named_expiry(opaque) is None
    assert named_expiry(jwt.encode({"exp": 5.5}, SECRET)) == 5.5
    header, _, signature = jwt.encode({}, SECRET).split(".")
    for unreadable in (
        b'{"exp": 1, "x": 1, "x": 2}',
        b'{"exp": 1, "x": NaN}',
        b'{"exp": "1"}',
        b'{"exp": null}',
        b'{"exp": true}',
        b'{"exp": 1e999}',
        b"[1]",
        b"",
        '{"exp": 1}'.encode("utf-16"),
    ):
        payload = base64.urlsafe_b64encode(unreadable).decode().rstrip("=")
        with pytest.raises(TokenError):
            named_expiry(f"{header}.{payload}.{signature}")


@given(st.text(string.ascii_letters + string.digits + "_+/=.~-", min_size=20, max_size=80))
def test_a_secret_is_usable_where_the_jwt_library_would_take_it(secret: str) -> None:
    """Most are told apart by their letters alone, which is to change nothing."""
    for value in (secret, "0" + secret, "ssh-rsa" + secret, "ecdsa-sha2-nistp256" + secret, f'"{secret}"'):
        try:
            HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(value)
            takes = True
        except jwt.InvalidKeyError:
            takes = False
        assert is_usable_secret(value) is (takes and len(value) >= MIN_SECRET)
