"""Keys, names that tell nothing, and sealed values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro.crypto import KeyedHash, Sealer, derive_key

KEY = derive_key("client-secret", "test")
PARTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=4)


def test_each_purpose_and_each_secret_has_a_key_of_its_own() -> None:
    keys = {derive_key(secret, purpose) for secret in ("a", "b") for purpose in ("x", "y", "x:name")}
    assert len(keys) == 6
    assert {len(key) for key in keys} == {32}
    assert derive_key("a", "x") == derive_key("a", "x")


@given(PARTS, PARTS)
def test_two_lists_of_parts_share_a_name_only_where_they_are_equal(one: list[str], other: list[str]) -> None:
    names = KeyedHash(KEY)
    assert (names(*one) == names(*other)) == (one == other)


def test_a_name_depends_on_the_key_and_shows_no_part() -> None:
    name = KeyedHash(KEY)("organization", "token-value")
    assert name != KeyedHash(derive_key("client-secret", "other"))("organization", "token-value")
    assert len(name) == 64
    assert set(name) <= set("0123456789abcdef")


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=10))
def test_a_sealed_value_opens_at_its_place_alone(value: bytes, place: str) -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(value, place)
    assert sealer.open(sealed, place) == value
    assert sealer.open(sealed, place + "x") is None
    assert Sealer(derive_key("other", "test")).open(sealed, place) is None


@given(st.integers(0, 60), st.integers(1, 255))
def test_one_changed_byte_anywhere_is_noticed(position: int, difference: int) -> None:
    sealer = Sealer(KEY)
    sealed = bytearray(sealer.seal(b"a value of some length, thirty-three", "place"))
    sealed[position] ^= difference
    assert sealer.open(bytes(sealed), "place") is None


def test_two_seals_of_one_value_differ() -> None:
    sealer = Sealer(KEY)
    assert sealer.seal(b"value", "place") != sealer.seal(b"value", "place")


@pytest.mark.parametrize("length", [*range(30), 100])
def test_rubbish_of_any_length_does_not_open(length: int) -> None:
    assert Sealer(KEY).open(b"\x00" * length, "place") is None
