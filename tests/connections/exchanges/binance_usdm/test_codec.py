"""Binance USD-M's records as DES's types: bodies of the shape that its documents show, and what doesn't fit."""

import json
from decimal import Decimal
from typing import Any

import pytest

from connections.events import CandleUpdate, PublicTrade, Quote
from connections.exchanges.binance_usdm import VENUE
from connections.exchanges.binance_usdm.codec import UsdmCodec
from connections.exchanges.binance_usdm.user_stream import UsdmUserDialect
from connections.exchanges.binance_usdm.venue import usdm_market_dialects
from connections.exchanges.contract import BalanceNews, DepthDelta, OrderNews, Terminated
from connections.exchanges.network import Network
from connections.gateways import (
    Credentials,
    MarginType,
    OrderRequest,
    OrderType,
    ReportStatus,
    Side,
    TimeInForce,
    UnexpectedShape,
)


def symbol_row(symbol: str, base: str, **changes: Any) -> dict[str, Any]:
    return {
        "symbol": symbol, "pair": symbol, "contractType": "PERPETUAL", "status": "TRADING", "baseAsset": base,
        "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "maxQty": "1000", "minQty": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "maxQty": "120", "minQty": "0.001"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
        **changes,
    }  # fmt: skip


INFO = json.dumps({
    "symbols": [
        symbol_row("BTCUSDT", "BTC"),
        symbol_row("1000SHIBUSDT", "1000SHIB"),
        symbol_row("BTCUSDT_270326", "BTC", contractType="CURRENT_QUARTER"),
        symbol_row("OLDUSDT", "OLD", status="SETTLING"),
    ]
}).encode()
API = VENUE.versions.shipped
CODEC = UsdmCodec(API)
SYMBOLS = CODEC.symbols(INFO)
PERPETUAL = "BTC/USDT:USDT"
ORDER = {
    "orderId": 22542179, "symbol": "BTCUSDT", "status": "PARTIALLY_FILLED", "clientOrderId": "d1-1",
    "price": "30000.0", "avgPrice": "30000.0", "origQty": "0.100", "executedQty": "0.040", "cumQuote": "1200",
    "timeInForce": "GTC", "type": "LIMIT", "reduceOnly": False, "closePosition": False, "side": "SELL",
    "positionSide": "BOTH", "stopPrice": "0", "workingType": "CONTRACT_PRICE", "origType": "LIMIT",
    "updateTime": 1566818724722,
}  # fmt: skip
POSITION = {
    "entryPrice": "6563.66500", "marginType": "isolated", "isAutoAddMargin": "false", "isolatedMargin": "15517.54",
    "leverage": "10", "liquidationPrice": "5930.78", "markPrice": "6679.50671178", "maxNotionalValue": "20000000",
    "positionAmt": "-20.000", "symbol": "BTCUSDT", "unRealizedProfit": "-2316.83423560", "positionSide": "BOTH",
    "updateTime": 1625474304765,
}  # fmt: skip


def order(**changes: Any) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


def test_only_perpetual_contracts_that_trade_are_known_and_by_their_settlement_asset() -> None:
    assert set(SYMBOLS.rules) == {PERPETUAL, "1000SHIB/USDT:USDT"}
    rules = SYMBOLS.rules[PERPETUAL]
    assert (rules.base, rules.quote, rules.price_step, rules.quantity_step) == (
        "BTC", "USDT", Decimal("0.10"), Decimal("0.001"),
    )  # fmt: skip
    assert (rules.min_notional, rules.max_quantity, rules.market_max_quantity) == (
        Decimal(100), Decimal(1000), Decimal(120),
    )  # fmt: skip


def test_an_order_becomes_a_report() -> None:
    report = CODEC.order(order(), SYMBOLS)

    assert (report.symbol, report.side, report.type, report.status) == (
        PERPETUAL, Side.SELL, OrderType.LIMIT, ReportStatus.PARTIALLY_FILLED,
    )  # fmt: skip
    assert (report.filled_quantity, report.price, report.client_order_id) == (
        Decimal("0.040"), Decimal("30000.0"), "d1-1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind", "time_in_force"),
    [
        ({"timeInForce": "GTX"}, OrderType.POST_ONLY, TimeInForce.GTC),
        ({"timeInForce": "GTD"}, OrderType.LIMIT, TimeInForce.GTC),
        ({"timeInForce": "IOC"}, OrderType.LIMIT, TimeInForce.IOC),
        ({"type": "STOP_MARKET", "timeInForce": "GTE_GTC"}, OrderType.MARKET, TimeInForce.GTC),
        ({"type": "LIQUIDATION", "timeInForce": "IOC"}, OrderType.LIMIT, TimeInForce.IOC),
    ],
    ids=str,
)
def test_what_others_placed_is_read_too(words: dict[str, str], kind: OrderType, time_in_force: TimeInForce) -> None:
    report = CODEC.order(order(**words), SYMBOLS)

    assert (report.type, report.time_in_force) == (kind, time_in_force)


@pytest.mark.parametrize(
    "changes", [{"status": "HALF"}, {"type": "MAGIC"}, {"executedQty": "NaN"}, {"updateTime": None}], ids=str
)
def test_what_doesnt_fit_is_named_and_not_quoted(changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedShape) as caught:
        CODEC.order(order(**changes), SYMBOLS)

    assert "d1-1" not in str(caught.value)


def test_a_position_has_the_sign_of_its_side() -> None:
    flat = {**POSITION, "positionAmt": "0.000"}
    (found,) = CODEC.positions(json.dumps([POSITION, flat]).encode(), SYMBOLS)

    assert (found.symbol, found.quantity, found.leverage, found.margin_type) == (
        PERPETUAL, Decimal(-20), 10, MarginType.ISOLATED,
    )  # fmt: skip
    assert (found.unrealized_pnl, found.liquidation_price) == (Decimal("-2316.83423560"), Decimal("5930.78"))


def test_an_account_in_hedge_mode_is_refused_and_not_misread() -> None:
    with pytest.raises(UnexpectedShape, match="one-way"):
        CODEC.positions(json.dumps([{**POSITION, "positionSide": "SHORT"}]).encode(), SYMBOLS)


def test_what_margins_positions_and_orders_is_locked() -> None:
    asset = {"asset": "USDT", "walletBalance": "100", "positionInitialMargin": "30", "openOrderInitialMargin": "5"}
    snapshot = CODEC.account(json.dumps({"assets": [asset]}).encode(), 1_700_000_000_000)

    (balance,) = snapshot.balances
    assert (balance.free, balance.locked) == (Decimal(65), Decimal(35))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            OrderRequest("c", PERPETUAL, Side.SELL, OrderType.MARKET, Decimal("0.1"), reduce_only=True),
            {"type": "MARKET", "reduceOnly": "true", "newOrderRespType": "RESULT"},
        ),
        (
            OrderRequest("c", PERPETUAL, Side.BUY, OrderType.POST_ONLY, Decimal("0.1"), Decimal(5)),
            {"type": "LIMIT", "timeInForce": "GTX", "price": "5"},
        ),
        (
            OrderRequest("c", PERPETUAL, Side.BUY, OrderType.LIMIT, Decimal("0.1"), Decimal(5), TimeInForce.IOC),
            {"type": "LIMIT", "timeInForce": "IOC"},
        ),
    ],
    ids=["reduce only", "post only", "ioc"],
)
def test_orders_are_spelled_as_the_exchange_wants_them(request_: OrderRequest, expected: dict[str, str]) -> None:
    gateway = VENUE.gateway(Credentials("k", "s"), "live", Network())
    params = gateway.order_params(request_, SYMBOLS)

    assert expected.items() <= params.items()
    assert ("reduceOnly" in params) == request_.reduce_only


# Streams.

PUBLIC, MARKET = usdm_market_dialects(API, "wss://stream.example", SYMBOLS)


def framed(stream: str, **data: Any) -> str:
    return json.dumps({"stream": stream, "data": data})


def test_each_address_is_asked_for_what_it_carries() -> None:
    assert (PUBLIC.url, MARKET.url) == ("wss://stream.example/public/stream", "wss://stream.example/market/stream")
    assert set(PUBLIC.streams(PERPETUAL, {"1m"})) == {"btcusdt@bookTicker", "btcusdt@depth@100ms"}
    assert set(MARKET.streams(PERPETUAL, {"1m", "1s"})) == {"btcusdt@aggTrade", "btcusdt@kline_1m"}


def test_public_frames_are_read() -> None:
    top = framed(
        "btcusdt@bookTicker", e="bookTicker", u=400900217, E=1568014460893, T=1568014460891, s="BTCUSDT", b="25.35",
        B="31.21", a="25.36", A="40.66",
    )  # fmt: skip
    delta = framed(
        "btcusdt@depth@100ms", e="depthUpdate", E=123456789, T=123456788, s="BTCUSDT", U=157, u=160, pu=149,
        b=[["0.0024", "10"]], a=[["0.0026", "100"]],
    )  # fmt: skip
    trade = framed(
        "btcusdt@aggTrade", e="aggTrade", E=123456789, s="BTCUSDT", a=5933014, p="0.001", q="100", f=100, l=105,
        T=123456785, m=True,
    )  # fmt: skip

    quote, change, told = PUBLIC.read(top, 1), PUBLIC.read(delta, 2), MARKET.read(trade, 3)
    assert isinstance(quote, Quote)
    assert (quote.symbol, quote.ask_size) == (PERPETUAL, Decimal("40.66"))
    assert isinstance(change, DepthDelta)
    assert (change.first_id, change.last_id, change.follows) == (157, 160, 149)
    assert isinstance(told, PublicTrade)
    assert (told.trade_id, told.executed_ms) == (5933014, 123456785)


def test_a_candle_is_read() -> None:
    candle = {
        "t": 123400000, "T": 123460000, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "0.0010", "c": "0.0020",
        "h": "0.0025", "l": "0.0015", "v": "1000", "n": 100, "x": False, "q": "1.0000", "V": "500", "Q": "0.5",
    }  # fmt: skip
    found = MARKET.read(framed("btcusdt@kline_1m", e="kline", E=1, s="BTCUSDT", k=candle), 1)

    assert isinstance(found, CandleUpdate)
    assert (found.symbol, found.timeframe, found.closed) == (PERPETUAL, "1m", False)


@pytest.fixture
def user() -> UsdmUserDialect:
    return UsdmUserDialect(VENUE.public("live", Network()), "wss://stream.example", SYMBOLS)


def test_an_order_event_with_a_fill(user: UsdmUserDialect) -> None:
    body = {
        "s": "BTCUSDT", "c": "d1-1", "S": "SELL", "o": "MARKET", "f": "GTC", "q": "0.002", "p": "0", "ap": "59000",
        "sp": "0", "x": "TRADE", "X": "FILLED", "i": 8886774, "l": "0.002", "z": "0.002", "L": "59000", "N": "USDT",
        "n": "0.0236", "T": 1568879465651, "t": 991, "b": "0", "a": "9.91", "m": False, "R": True, "ps": "BOTH",
        "rp": "1.5", "st": "C_TAKE", "V": "EXPIRE_TAKER", "pm": "NONE", "gtd": 0,
    }  # fmt: skip
    news = user.read(json.dumps({"e": "ORDER_TRADE_UPDATE", "E": 1568879465652, "T": 1568879465650, "o": body}))

    assert isinstance(news, OrderNews)
    (fill,) = news.report.fills
    assert (news.report.status, news.report.symbol, news.report.price) == (ReportStatus.FILLED, PERPETUAL, None)
    assert (fill.exchange_trade_id, fill.fee, fill.fee_asset, fill.liquidity) == (
        "991", Decimal("0.0236"), "USDT", "taker",
    )  # fmt: skip


def test_what_the_exchange_itself_trades_in_a_liquidation_is_a_fill(user: UsdmUserDialect) -> None:
    body = {
        "s": "BTCUSDT", "c": "autoclose-1568879465651", "S": "SELL", "o": "LIQUIDATION", "f": "IOC", "q": "0.1",
        "p": "0", "x": "CALCULATED", "X": "FILLED", "i": 8886775, "l": "0.1", "z": "0.1", "L": "59000", "N": "USDT",
        "n": "2.36", "T": 1568879465651, "t": 992, "m": False, "R": True, "rp": "-71.5",
    }  # fmt: skip
    news = user.read(json.dumps({"e": "ORDER_TRADE_UPDATE", "E": 1568879465652, "T": 1568879465650, "o": body}))

    assert isinstance(news, OrderNews)
    (fill,) = news.report.fills
    assert (fill.quantity, fill.price, fill.fee) == (Decimal("0.1"), Decimal(59_000), Decimal("2.36"))


def test_an_account_event_tells_what_is_in_the_wallet(user: UsdmUserDialect) -> None:
    body = {
        "m": "FUNDING_FEE",
        "B": [{"a": "USDT", "wb": "122624.12345678", "cw": "100.12345678", "bc": "-50.12345678"}],
        "P": [{"s": "BTCUSDT", "pa": "20", "ep": "6563.6", "up": "2850.21", "mt": "cross", "iw": "0", "ps": "BOTH"}],
    }
    news = user.read(json.dumps({"e": "ACCOUNT_UPDATE", "E": 1564745798939, "T": 1564745798938, "a": body}))

    assert isinstance(news, BalanceNews)
    assert (news.as_of_ms, news.balances[0].free) == (1564745798938, Decimal("122624.12345678"))


def test_the_end_of_a_listen_key_and_what_is_of_no_use(user: UsdmUserDialect) -> None:
    assert isinstance(user.read('{"e":"listenKeyExpired","E":1,"listenKey":"x"}'), Terminated)
    assert user.read('{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{"s":"BTCUSDT","l":25}}') is None
    assert user.read('{"e":"TRADE_LITE","E":1,"T":1,"s":"BTCUSDT","q":"0.001"}') is None
    with pytest.raises(UnexpectedShape):
        user.read('{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":{"s":"BTCUSDT"}}')


def test_the_shipped_file_names_both_networks() -> None:
    assert set(API.bases) == {"live", "testnet"}
    assert API.bases["live"].wallet != API.bases["live"].rest
