"""Where Bithumb's bodies and frames differ from Upbit's, as its documents show them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import jwt
import msgspec
import pytest

from connections.events import PublicTrade
from connections.exchanges.bithumb import VENUE
from connections.exchanges.contract import OrderNews, WholeDepth
from connections.exchanges.krw.codec import KrwCodec
from connections.exchanges.krw.market_stream import KrwMarketDialect
from connections.exchanges.krw.user_stream import KrwUserDialect
from connections.gateways import Credentials, ReportStatus, Side, TimeInForce, UnexpectedShape

API = VENUE.versions.shipped
CODEC = KrwCodec(API)
SYMBOLS = CODEC.symbols(b'[{"market":"KRW-BTC"},{"market":"BTC-ETH"}]')
MARKET = KrwMarketDialect(API, "wss://ws-api.bithumb.com", SYMBOLS)
USER = KrwUserDialect(API, "wss://ws-api.bithumb.com", SYMBOLS, stamps_requests=True)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FILL: dict[str, Any] = {
    "type": "myOrder", "stream_type": "REALTIME", "code": "KRW-BTC", "order_id": "C0101000000001799625",
    "client_order_id": "alice-1", "side": "buy", "order_type": "limit", "state": "trade", "time_in_force": "ioc",
    "order_price": 90000000, "order_quantity": 0.01, "order_amount": 900000, "remaining_quantity": 0.004,
    "executed_quantity": 0.006, "executed_amount": 539700, "paid_fee": 215.88, "trade_id": "C0101000000001799653",
    "trade_price": 89900000, "trade_quantity": 0.002, "trade_amount": 179800, "trade_timestamp": 1763726340123,
    "order_timestamp": 1763726340000, "timestamp": 1763726340200,
}  # fmt: skip


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_a_placed_order_is_known_by_its_order_id() -> None:
    answer = {
        "order_id": "C0101000000001799653", "client_order_id": "alice-1", "market": "KRW-BTC", "side": "bid",
        "order_type": "limit", "created_at": "2026-11-21T21:00:00+09:00", "stp_type": "cancel_taker",
    }  # fmt: skip

    assert CODEC.ack(body(answer)) == "C0101000000001799653"


def test_a_fill_has_its_own_price_and_its_share_of_the_orders_fee() -> None:
    news = USER.read(body(FILL))

    assert isinstance(news, OrderNews)
    report = news.report
    assert (report.status, report.time_in_force) == (ReportStatus.PARTIALLY_FILLED, TimeInForce.IOC)
    assert (report.quantity, report.filled_quantity) == (Decimal("0.010"), Decimal("0.006"))
    (fill,) = report.fills
    assert (fill.price, fill.quantity, fill.side) == (Decimal(89900000), Decimal("0.002"), Side.BUY)
    assert fill.fee == Decimal("71.92")
    assert fill.liquidity == ""


def test_a_partly_filled_order_that_may_not_rest_is_done_but_not_filled() -> None:
    end = {name: value for name, value in FILL.items() if not name.startswith("trade_")}
    news = USER.read(body({**end, "state": "done"}))

    assert isinstance(news, OrderNews)
    assert (news.report.status, news.report.fills) == (ReportStatus.EXPIRED, ())


@pytest.mark.parametrize("missing", ["trade_id", "trade_quantity", "paid_fee", "executed_amount"])
def test_a_fill_that_isnt_told_whole_has_a_named_error(missing: str) -> None:
    with pytest.raises(UnexpectedShape):
        USER.read(body({name: value for name, value in FILL.items() if name != missing}))


def test_the_private_socket_is_opened_by_a_token_with_the_time() -> None:
    key = Credentials("alice-key", "alice-secret-that-is-long-enough-for-hs256")
    token = USER.handshake(key, 1763726340000)["Authorization"].removeprefix("Bearer ")

    claims = jwt.decode(token, key.api_secret, algorithms=["HS256"])
    assert (claims["access_key"], claims["timestamp"]) == ("alice-key", 1763726340000)
    assert USER.url == "wss://ws-api.bithumb.com/websocket/v2/private"


def test_no_candles_are_subscribed_to() -> None:
    _, *types, _ = msgspec.json.decode(MARKET.subscribe(1, MARKET.streams("BTC/KRW", ["1m", "1h"])))

    assert types == [
        {"type": "orderbook", "codes": ["KRW-BTC"]},
        {"type": "trade", "codes": ["KRW-BTC"], "isOnlyRealtime": True},
    ]


def test_books_and_trades_have_long_names() -> None:
    book = {
        "type": "orderbook", "code": "KRW-BTC", "total_ask_size": 1, "total_bid_size": 1, "timestamp": 1763726340000,
        "orderbook_units": [{"ask_price": 101, "bid_price": 100, "ask_size": 1, "bid_size": 2}],
        "stream_type": "REALTIME",
    }  # fmt: skip
    trade = {
        "type": "trade", "code": "KRW-BTC", "trade_price": 100, "trade_volume": 0.5, "ask_bid": "BID",
        "trade_timestamp": 1763726340000, "sequential_id": 17637263400000001, "timestamp": 1763726340005,
    }  # fmt: skip

    told = MARKET.read(body(book), 1)
    assert isinstance(told, WholeDepth)
    assert told.bids == ((Decimal(100), Decimal(2)),)
    sold = MARKET.read(body(trade), 1)
    assert isinstance(sold, PublicTrade)
    assert (sold.price, sold.quantity, sold.trade_id) == (Decimal(100), Decimal("0.5"), 17637263400000001)


def test_bars_that_begin_at_korean_hours_are_not_offered() -> None:
    assert not {"4h", "1d"} & set(API.timeframes.all)
