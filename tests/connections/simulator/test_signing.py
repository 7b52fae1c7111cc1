"""Signatures and time windows, with the exchange's own published examples."""

import base64
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connections.simulator.accounts import Account
from connections.simulator.binance.errors import ApiError
from connections.simulator.binance.params import Params, parse_pairs
from connections.simulator.binance.signing import check_signature, check_time, rest_payload, ws_payload

# The exchange's published example.
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"  # not a secret
QUERY = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
NOW = 1_800_000_000_000


def test_the_published_rest_example_verifies_in_either_case() -> None:
    account = Account("key", 1, api_secret=SECRET)
    payload = rest_payload(f"{QUERY}&signature={SIGNATURE}", "")
    check_signature(account, payload, SIGNATURE)
    check_signature(account, payload, SIGNATURE.upper())


def test_the_published_websocket_example_verifies() -> None:
    params = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01000000",
        "price": "52000.00",
        "recvWindow": 100,
        "timestamp": 1645423376532,
        "apiKey": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",  # not a secret
        "signature": "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
    }
    check_signature(Account("key", 1, api_secret=SECRET), ws_payload(params), str(params["signature"]))


def test_query_and_body_are_signed_joined_without_a_separator() -> None:
    assert rest_payload("a=1&b=2", "c=3&signature=x") == b"a=1&b=2c=3"


@pytest.mark.parametrize("sent", [QUERY.replace("quantity=1", "quantity=2"), QUERY + "&recvWindow=1"])
def test_a_changed_request_fails(sent: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_signature(Account("key", 1, api_secret=SECRET), rest_payload(sent, ""), SIGNATURE)
    assert refused.value.code == -1022


def test_an_ed25519_signature_verifies_with_the_public_key() -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    account = Account("key", 1, ed25519_public_key=public)
    check_signature(account, QUERY.encode(), base64.b64encode(private.sign(QUERY.encode())).decode())
    with pytest.raises(ApiError, match="Signature"):
        check_signature(account, b"other", base64.b64encode(private.sign(QUERY.encode())).decode())


@pytest.mark.parametrize(("offset", "window"), [(999, "5000"), (0, "5000"), (-5000, "5000"), (-60000, "60000")])
def test_timestamps_inside_the_window_pass(offset: int, window: str) -> None:
    check_time(Params({"timestamp": str(NOW + offset), "recvWindow": window}), NOW)


def test_a_timestamp_in_microseconds_is_understood() -> None:
    check_time(Params({"timestamp": str(NOW * 1000)}), NOW)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"timestamp": str(NOW + 1000)}, -1021),
        ({"timestamp": str(NOW - 5001)}, -1021),
        ({"timestamp": str(NOW - 101), "recvWindow": "100"}, -1021),
        ({"timestamp": str(NOW), "recvWindow": "60001"}, -1131),
        ({"timestamp": "soon"}, -1100),
        ({}, -1102),
    ],
)
def test_other_timestamps_are_refused(values: dict[str, str], code: int) -> None:
    with pytest.raises(ApiError) as refused:
        check_time(Params(values), NOW)
    assert refused.value.code == code


def test_the_query_wins_over_the_body() -> None:
    assert parse_pairs("a=1&b=%2F", "a=2&c=3") == {"a": "1", "b": "/", "c": "3"}


@pytest.mark.parametrize("text", ["NaN", "1e5", "-1", "", " 1", "1.", "Infinity"])
def test_what_is_no_plain_decimal_is_illegal(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        Params({"quantity": text}).decimal("quantity")
    assert refused.value.code == -1100


def test_trailing_zeros_are_no_precision() -> None:
    assert Params({"q": "1.1000000000"}).decimal("q") == Decimal("1.1")
    with pytest.raises(ApiError) as refused:
        Params({"q": "1.123456789"}).decimal("q")
    assert refused.value.code == -1111
