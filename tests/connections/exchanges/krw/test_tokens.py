"""Tokens as a library that isn't ours reads them."""

import hashlib

import jwt
import pytest

from connections.exchanges.krw.tokens import bearer, query_of
from connections.gateways import Credentials

KEY = Credentials("alice-key", "alice-secret-that-is-long-enough-for-hs256")


def claims_of(headers: dict[str, str]) -> dict[str, object]:
    kind, _, token = headers["Authorization"].partition(" ")
    assert kind == "Bearer"
    return jwt.decode(token, KEY.api_secret, algorithms=["HS256"])


def test_a_request_without_parameters_is_signed_by_key_and_nonce() -> None:
    claims = claims_of(bearer(KEY))

    assert claims["access_key"] == "alice-key"
    assert set(claims) == {"access_key", "nonce"}


def test_no_nonce_comes_twice() -> None:
    assert claims_of(bearer(KEY))["nonce"] != claims_of(bearer(KEY))["nonce"]


def test_parameters_are_hashed_in_their_order_and_without_their_encoding() -> None:
    query = query_of({"market": "KRW-BTC", "to": "2026-01-01T00:00:00+09:00"})
    claims = claims_of(bearer(KEY, query))

    plain = b"market=KRW-BTC&to=2026-01-01T00:00:00+09:00"
    assert claims["query_hash"] == hashlib.sha512(plain).hexdigest()
    assert claims["query_hash_alg"] == "SHA512"


def test_the_time_goes_in_where_it_is_wanted() -> None:
    assert claims_of(bearer(KEY, timestamp_ms=1_700_000_000_000))["timestamp"] == 1_700_000_000_000


def test_another_secret_signs_otherwise() -> None:
    other = Credentials("alice-key", "another-secret-that-is-long-enough-too")

    with pytest.raises(jwt.InvalidSignatureError):
        claims_of(bearer(other))
