"""Binance spot's records as DES's types: what fits, what grew, and what doesn't fit."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connections.events import CandleUpdate, PublicTrade, Quote
from connections.exchanges import binance_spot
from connections.exchanges.api_file import BadApiFile
from connections.exchanges.binance.codec import read_candles
from connections.exchanges.binance_spot import VENUE
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.exchanges.binance_spot.user_stream import SpotUserDialect
from connections.exchanges.binance_spot.venue import read_spot, spot_market_dialect
from connections.exchanges.contract import (
    BalanceNews,
    Confirmed,
    DepthDelta,
    Ending,
    OrderNews,
    Refused,
    Subscribed,
    Terminated,
)
from connections.exchanges.wire import Symbols
from connections.gateways import KeyRefused, OrderType, ReportStatus, Side, UnexpectedShape
from desproject.lib.errors import InvalidInput

RECORDING = Path(__file__).resolve().parents[5] / "shared/data/binance/spot-btcusdt-20240808.jsonl.gz"


def symbol_row(symbol: str, base: str, quote: str, status: str = "TRADING") -> dict[str, Any]:
    return {"symbol": symbol, "status": status, "baseAsset": base, "quoteAsset": quote, "filters": []}


INFO = json.dumps({
    "symbols": [
        symbol_row("BTCUSDT", "BTC", "USDT"),
        symbol_row("USDTTRY", "USDT", "TRY"),
        symbol_row("1000SATSUSDT", "1000SATS", "USDT"),
        symbol_row("OLDUSDT", "OLD", "USDT", "BREAK"),
    ]
}).encode()
API = VENUE.versions.shipped
CODEC = SpotCodec(API)
SYMBOLS = CODEC.symbols(INFO)
ORDER = {
    "symbol": "BTCUSDT", "orderId": 7, "orderListId": -1, "clientOrderId": "c-1", "transactTime": 1_700_000_000_123,
    "price": "0.00000000", "origQty": "0.50000000", "executedQty": "0.50000000", "status": "FILLED",
    "timeInForce": "GTC", "type": "MARKET", "side": "SELL", "cummulativeQuoteQty": "31000",
    "fills": [{"price": "62000.00", "qty": "0.5", "commission": "31", "commissionAsset": "USDT", "tradeId": 99}],
}  # fmt: skip


def order(**changes: Any) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


def test_symbols_are_read_not_guessed() -> None:
    assert SYMBOLS.spelling("1000SATS/USDT") == "1000SATSUSDT"
    assert SYMBOLS.name("USDTTRY") == "USDT/TRY"
    assert "OLD/USDT" not in SYMBOLS
    with pytest.raises(InvalidInput):
        SYMBOLS.spelling("BTCUSDT")


def test_an_order_becomes_a_report_in_the_exchanges_time() -> None:
    report = CODEC.order(order(), SYMBOLS)

    assert (report.symbol, report.side, report.type, report.status) == (
        "BTC/USDT", Side.SELL, OrderType.MARKET, ReportStatus.FILLED,
    )  # fmt: skip
    assert report.reported_at == datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)
    assert (report.price, report.quantity, report.fills[0].fee) == (None, Decimal("0.5"), Decimal(31))


def test_fields_that_joined_later_are_tolerated() -> None:
    grown = order(eR=3, st="x", ps={"deep": [1]}, workingTime=1)

    assert CODEC.order(grown, SYMBOLS) == CODEC.order(order(), SYMBOLS)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "HALF_FILLED"}, {"side": "HOLD"}, {"type": "MAGIC"}, {"timeInForce": "GTD"},
        {"executedQty": "many"}, {"executedQty": "NaN"}, {"origQty": "Infinity"}, {"orderId": "seven"},
        {"transactTime": None}, {"clientOrderId": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_doesnt_fit_is_named_and_not_quoted(changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedShape) as caught:
        CODEC.order(order(**changes), SYMBOLS)

    assert "c-1" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"null", b"<html>", b"[]", b"{}", b"\xff\xfe", b'{"symbol":'])
def test_what_is_no_order_at_all_is_named(body: bytes) -> None:
    with pytest.raises(UnexpectedShape):
        CODEC.order(body, SYMBOLS)


def test_a_candle_that_doesnt_fit_is_named() -> None:
    with pytest.raises(UnexpectedShape):
        read_candles(b'[[1, "1", "1", "1"]]', "BTC/USDT", "1m", 5)


# api.toml.


def test_the_shipped_file_names_every_field_of_every_record() -> None:
    assert API.version == "v3"
    assert set(API.bases) == {"live", "testnet"}


def test_a_file_with_a_hole_or_a_surplus_is_refused() -> None:
    text = (Path(binance_spot.__file__).parent / "api.toml").read_text()
    for old, new, complaint in (
        ('klines = "/api/v3/klines"\n', "", "klines"),
        ("[paths]\n", '[paths]\nsurplus = "/x"\n', "surplus"),
        ('time = "/api/v3/time"', 'time = "api/v3/time"', "slash"),
        ('client_order_id = "clientOrderId"', 'client_order_id = "orderId"', "twice"),
        ('executed = "executedQty"', 'executed = "price"', "twice"),
        ('last_id = "lastUpdateId"', 'lost_id = "lastUpdateId"', "lost_id"),
        ("[fields.depth]\n", "[fields.breadth]\n", "breadth, depth"),
        ('version = "v3"', 'version = "v 3"', "version"),
        ("{symbol}@trade", "{sign}@trade", "trade"),
        ("weight = {", "weights = {", "costs.weight"),
        ('60, of = "address"', '60, of = "account"', "address"),
        (text, "not toml at all [", "line 1"),
    ):  # fmt: skip
        assert old in text
        with pytest.raises(BadApiFile, match=complaint):
            read_spot(text.replace(old, new, 1))


# Streams.

MARKET = spot_market_dialect(API, "wss://stream.example", SYMBOLS)
USER = SpotUserDialect(API, CODEC, "wss://api.example", SYMBOLS)


def test_the_streams_of_a_symbol() -> None:
    assert set(MARKET.streams("BTC/USDT", {"1m", "7m"})) == {
        "btcusdt@bookTicker", "btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@kline_1m",
    }  # fmt: skip
    with pytest.raises(InvalidInput):
        MARKET.streams("NOPE/USDT", set())


def combined(stream: str, **data: Any) -> str:
    return json.dumps({"stream": stream, "data": data})


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (combined("btcusdt@bookTicker", u=1, s="BTCUSDT", b="1", B="2", a="3", A="4", new="x"), Quote),
        (combined("btcusdt@trade", e="trade", E=1, s="BTCUSDT", t=5, p="1", q="2", T=3, m=True), PublicTrade),
        (combined("btcusdt@depth@100ms", e="depthUpdate", s="BTCUSDT", U=1, u=2, b=[["1", "0"]], a=[]), DepthDelta),
        (
            combined("btcusdt@kline_1m", s="BTCUSDT", k={
                "t": 60000, "i": "1m", "o": "1", "h": "2", "l": "1", "c": "2", "v": "3", "x": True,
            }),
            CandleUpdate,
        ),
        ('{"result": null, "id": 4}', Confirmed),
        ('{"error": {"code": 2, "msg": "Invalid request"}, "id": 4}', Refused),
        ('{"e": "serverShutdown", "E": 1}', Ending),
        (combined("btcusdt@aggTrade", e="aggTrade"), type(None)),
    ],
)  # fmt: skip
def test_market_frames(frame: str, kind: type) -> None:
    assert type(MARKET.read(frame, 1)) is kind


@pytest.mark.parametrize(
    "frame",
    [
        "", "garbage", combined("btcusdt@bookTicker"),
        combined("btcusdt@bookTicker", s="BTCUSDT", b="-1", B="1", a="1", A="1"),
        combined("btcusdt@depth@100ms", s="BTCUSDT", U=1, u=2, b=[[None, "1"]], a=[]),
        combined("btcusdt@depth@100ms", s="BTCUSDT", U=-2, u=-1, b=[["1", "1"]], a=[]),
        combined("btcusdt@depth@100ms", s="BTCUSDT", U=3, u=2, b=[["1", "1"]], a=[]),
        combined("btcusdt@trade", s="BTCUSDT", t=1, p="NaN", q="1", T=1),
        combined("btcusdt@depth@100ms", s="BTCUSDT", U=1, u=2, b=[["1"]], a=[]),
    ],
)  # fmt: skip
def test_malformed_market_frames_are_named(frame: str) -> None:
    with pytest.raises(UnexpectedShape):
        MARKET.read(frame, 1)


REPORT: dict[str, Any] = {
    "e": "executionReport", "E": 1, "s": "BTCUSDT", "c": "cancel-1", "C": "c-1", "S": "BUY", "o": "LIMIT", "f": "GTC",
    "q": "1.00", "p": "100.00", "x": "CANCELED", "X": "CANCELED", "r": "NONE", "i": 7, "l": "0", "z": "0.25", "L": "0",
    "n": "0", "N": None, "T": 1_700_000_000_000, "t": -1, "m": False,
}  # fmt: skip


def user_event(**event: Any) -> str:
    return json.dumps({"subscriptionId": 3, "event": event})


def test_a_cancel_report_names_the_order_not_the_cancel() -> None:
    news = USER.read(user_event(**REPORT))

    assert isinstance(news, OrderNews)
    assert (news.subscription, news.report.client_order_id, news.report.status) == (3, "c-1", ReportStatus.CANCELLED)
    assert (news.report.filled_quantity, news.report.fills) == (Decimal("0.25"), ())


def test_a_fill_report_carries_its_fill() -> None:
    filled = {
        **REPORT, "c": "c-1", "C": "", "x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.25", "L": "99.5", "n": "0.1",
        "N": "BNB", "t": 55, "m": True,
    }  # fmt: skip
    news = USER.read(user_event(**filled))

    assert isinstance(news, OrderNews)
    (fill,) = news.report.fills
    assert (fill.exchange_trade_id, fill.quantity, fill.price) == ("55", Decimal("0.25"), Decimal("99.5"))
    assert (fill.fee, fill.fee_asset, fill.liquidity) == (Decimal("0.1"), "BNB", "maker")


def test_a_fill_without_its_fee_is_no_fill() -> None:
    with pytest.raises(UnexpectedShape):
        USER.read(user_event(**{**REPORT, "x": "TRADE", "N": None}))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ('{"id": 5, "status": 200, "result": {"subscriptionId": 0}}', Subscribed(5, 0)),
        ('{"id": 5, "status": 200, "result": {}}', Confirmed(5)),
        (user_event(e="eventStreamTerminated", E=1), Terminated(3)),
        (user_event(e="balanceUpdate", E=1, a="BTC", d="1", T=1), None),
        (user_event(e="listStatus", E=1), None),
        ('{"event": {"e": "serverShutdown", "E": 1}}', Ending()),
    ],
)
def test_user_frames(frame: str, expected: object) -> None:
    assert USER.read(frame) == expected


def test_a_refused_subscription_says_why() -> None:
    frame = '{"id": 5, "status": 401, "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions."}}'
    refused = USER.read(frame)

    assert isinstance(refused, Refused)
    assert refused.request_id == 5
    assert isinstance(refused.error, KeyRefused)


def test_balances_are_told_as_of_the_accounts_update() -> None:
    news = USER.read(user_event(e="outboundAccountPosition", E=9, u=8, B=[{"a": "BTC", "f": "1.5", "l": "0.5"}]))

    assert isinstance(news, BalanceNews)
    assert news.as_of_ms == 8
    assert (news.balances[0].asset, news.balances[0].free, news.balances[0].locked) == (
        "BTC", Decimal("1.5"), Decimal("0.5"),
    )  # fmt: skip


@pytest.mark.skipif(not RECORDING.exists(), reason="the recording of real market data isn't here")
def test_every_frame_of_a_real_recording_is_read() -> None:
    kinds: dict[str, int] = {}
    with gzip.open(RECORDING, "rt") as lines:
        for line in lines:
            text = line.split(" ", 1)[1]
            if text.startswith('{"stream"'):
                kind = type(MARKET.read(text, 1)).__name__
                kinds[kind] = kinds.get(kind, 0) + 1

    assert set(kinds) == {"Quote", "PublicTrade", "DepthDelta"}
    assert sum(kinds.values()) == 41_248


def test_symbols_unknown_to_the_table_keep_their_spelling() -> None:
    assert Symbols([]).name("XYZ") == "XYZ"
