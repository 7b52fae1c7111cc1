"""Custody of small secrets."""

import base64
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desproject.lib.crypto import (
    CustodyError,
    Keyring,
    MasterKeyInvalid,
    Undecryptable,
    UnknownKeyVersion,
    new_master_key,
    parse_master_key,
    version_of,
)

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
PLACE = "connections.api_key:alice:1"
RING = Keyring({1: KEY})


@given(st.text(max_size=300), st.text(max_size=80))
def test_what_was_sealed_opens_at_its_place(secret: str, place: str) -> None:
    assert RING.open(RING.seal(secret, place), place) == secret


def test_the_format_names_the_version() -> None:
    sealed = RING.seal("s3cret", PLACE)
    assert re.fullmatch(r"ENC\[v1\]:[A-Za-z0-9+/]+=*", sealed)
    assert version_of(sealed) == 1
    # nonce, ciphertext and tag
    assert len(base64.b64decode(sealed.partition(":")[2])) == 12 + len("s3cret") + 16


def test_sealing_twice_gives_two_ciphertexts() -> None:
    assert len({RING.seal("s3cret", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "place", ["connections.api_key:bob:1", "connections.api_key:alice:2", "connections.api_secret:alice:1", ""]
)
def test_moved_to_another_tenant_row_or_column_it_does_not_open(place: str) -> None:
    with pytest.raises(Undecryptable):
        RING.open(RING.seal("s3cret", PLACE), place)


@given(st.integers(0, 33), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(byte: int, bit: int) -> None:
    body = bytearray(base64.b64decode(RING.seal("s3cret", PLACE).partition(":")[2]))
    body[byte] ^= 1 << bit
    with pytest.raises(Undecryptable):
        RING.open(f"ENC[v1]:{base64.b64encode(bytes(body)).decode()}", PLACE)


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "s3cret",
        "ENC[v1]",
        "ENC[v1]:",
        "ENC[v1]:!!!!",
        "ENC[v1]:AAA",
        "ENC[v1]:AAAA",
        "ENC[vX]:AAAA",
        "enc[v1]:AAAA",
    ],
)
def test_what_is_no_ciphertext_does_not_open(sealed: str) -> None:
    with pytest.raises(Undecryptable):
        RING.open(sealed, PLACE)


def test_the_newest_version_seals_and_all_open() -> None:
    both = Keyring({1: KEY, 2: OTHER_KEY})
    assert version_of(both.seal("new", PLACE)) == both.newest == 2
    assert both.open(RING.seal("old", PLACE), PLACE) == "old"


def test_a_version_that_is_not_here_is_named() -> None:
    sealed = Keyring({2: OTHER_KEY}).seal("s3cret", PLACE)
    with pytest.raises(UnknownKeyVersion, match="version 2"):
        RING.open(sealed, PLACE)


def test_another_key_of_the_same_version_does_not_open() -> None:
    with pytest.raises(Undecryptable):
        Keyring({1: OTHER_KEY}).open(RING.seal("s3cret", PLACE), PLACE)


def test_no_key_is_no_keyring() -> None:
    with pytest.raises(MasterKeyInvalid):
        Keyring({})


def test_keys_are_not_shown_and_not_pickled() -> None:
    assert repr(RING) == "<Keyring versions=[1]>"
    with pytest.raises(TypeError):
        pickle.dumps(RING)


def test_errors_hold_no_secret() -> None:
    sealed = RING.seal("s3cret-value", PLACE)
    with pytest.raises(CustodyError) as caught:
        RING.open(sealed, "connections.api_key:bob:7")
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "s3cret-value" not in shown
    assert sealed.partition(":")[2] not in shown
    assert KEY.hex() not in shown


def test_derived_keys_differ_by_purpose_and_outlive_rotation() -> None:
    rotated = Keyring({1: KEY, 2: OTHER_KEY})
    assert len(RING.derive("django")) == 32
    assert RING.derive("django") == rotated.derive("django")
    assert RING.derive("django") != RING.derive("jwt")
    assert RING.derive("django") != KEY


@pytest.mark.parametrize("text", [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), f"  {KEY.hex()}\n"])
def test_master_keys_are_read_from_hex_and_base64(text: str) -> None:
    assert parse_master_key(text) == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        KEY.hex()[:-2],
        "zz" * 32,
        base64.b64encode(KEY[:16]).decode(),
        base64.b64encode(KEY + b"x").decode(),
        "é" * 44,
    ],
)
def test_bad_master_keys_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(MasterKeyInvalid) as caught:
        parse_master_key(text)
    assert not text or text not in str(caught.value)


def test_new_master_keys_are_usable_and_different() -> None:
    assert parse_master_key(new_master_key()) != parse_master_key(new_master_key())
