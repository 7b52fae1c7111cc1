"""Upbit's bodies and frames, as its documents and a recording of 2021 show them."""

import gzip
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connections.events import CandleUpdate, PublicTrade
from connections.exchanges.contract import ONLY, Alive, BalanceNews, OrderNews, Refused, WholeDepth
from connections.exchanges.krw.codec import KrwCodec
from connections.exchanges.krw.market_stream import KrwMarketDialect
from connections.exchanges.krw.user_stream import KrwUserDialect
from connections.exchanges.upbit import VENUE
from connections.gateways import AssetBalance, KeyRefused, OrderType, ReportStatus, Side, TimeInForce, UnexpectedShape
from connections.whole_books import WholeBook

# Frames of 2021 that the project doesn't hold itself.
REAL = Path(__file__).parents[5] / "shared/data/upbit/krw-ws-sample.log.gz"
API = VENUE.versions.shipped
CODEC = KrwCodec(API)
SYMBOLS = CODEC.symbols(b'[{"market":"KRW-BTC"},{"market":"KRW-LAMB"},{"market":"BTC-ETH"},{"market":"USDT-BTC"}]')
MARKET = KrwMarketDialect(API, "wss://api.upbit.com", SYMBOLS)
USER = KrwUserDialect(API, "wss://api.upbit.com", SYMBOLS, stamps_requests=False)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORDER: dict[str, Any] = {
    "uuid": "9ca023a5-851b-4fec-9f0a-48cd83c2eaae", "side": "ask", "ord_type": "limit", "price": "4280000.0",
    "state": "done", "market": "KRW-BTC", "created_at": "2019-01-04T13:48:09+09:00", "volume": "1.0",
    "remaining_volume": "0.0", "reserved_fee": "0.0", "remaining_fee": "0.0", "paid_fee": "2140.0", "locked": "0.0",
    "executed_volume": "1.0", "trades_count": 1, "identifier": "alice-1", "a_new_field": 1,
    "trades": [{
        "market": "KRW-BTC", "uuid": "9e8f8eba-7050-4837-8969-cfc272cbe083", "price": "4280000.0", "volume": "1.0",
        "funds": "4280000.0", "trend": "up", "created_at": "2019-01-04T13:48:10+09:00", "side": "ask",
    }],
}  # fmt: skip
ORDER_EVENT: dict[str, Any] = {
    "type": "myOrder", "code": "KRW-BTC", "uuid": "ac2dc2a3-fce9-40a2-a4f6-5987c25c438f", "ask_bid": "BID",
    "order_type": "limit", "state": "trade", "trade_uuid": "68315169-fba4-4175-ade3-aff14a616657",
    "price": 1453000, "avg_price": 1453000, "volume": 0.0031422, "remaining_volume": 0.0068578,
    "executed_volume": 0.0031422, "trades_count": 1, "reserved_fee": 7.25, "remaining_fee": 5, "paid_fee": 2.28,
    "locked": 9900, "executed_funds": 4565.6166, "time_in_force": None, "trade_fee": 2.2828083, "is_maker": True,
    "identifier": "alice-1", "trade_timestamp": 1710751590421, "order_timestamp": 1710751590000,
    "timestamp": 1710751597500, "stream_type": "REALTIME",
}  # fmt: skip


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_only_markets_in_won_are_offered() -> None:
    assert set(SYMBOLS.rules) == {"BTC/KRW", "LAMB/KRW"}
    assert SYMBOLS.spelling("BTC/KRW") == "KRW-BTC"


@pytest.mark.parametrize(
    ("price", "step"),
    [
        ("2000000", "1000"), ("1000000", "1000"), ("999999", "500"), ("100000", "100"), ("99999", "50"),
        ("10000", "10"), ("9999", "5"),
        ("1000", "1"), ("100", "1"), ("99.9", "0.1"), ("9.99", "0.01"), ("0.5", "0.001"),
        ("0.05", "0.0001"), ("0.0000001", "0.00000001"),
    ],
)  # fmt: skip
def test_prices_move_in_the_steps_of_their_band(price: str, step: str) -> None:
    assert SYMBOLS.rules["BTC/KRW"].price_step_at(Decimal(price)) == Decimal(step)


def test_an_order_comes_with_its_fills_and_its_fee_among_them() -> None:
    report = CODEC.order(body(ORDER), SYMBOLS, NOW)

    assert (report.client_order_id, report.status, report.side) == ("alice-1", ReportStatus.FILLED, Side.SELL)
    assert (report.type, report.time_in_force, report.price) == (OrderType.LIMIT, TimeInForce.GTC, Decimal(4280000))
    (fill,) = report.fills
    assert (fill.fee, fill.fee_asset, fill.quantity) == (Decimal(2140), "KRW", Decimal(1))
    assert fill.executed_at == datetime(2019, 1, 4, 4, 48, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"state": "wait", "executed_volume": "0"}, ReportStatus.WORKING),
        ({"state": "watch", "executed_volume": "0"}, ReportStatus.WORKING),
        ({"state": "wait", "executed_volume": "0.4"}, ReportStatus.PARTIALLY_FILLED),
        ({"state": "cancel", "executed_volume": "0.4"}, ReportStatus.CANCELLED),
        ({"state": "cancel", "executed_volume": "0.4", "time_in_force": "ioc"}, ReportStatus.EXPIRED),
        ({"state": "cancel", "executed_volume": "1.0", "time_in_force": "ioc"}, ReportStatus.FILLED),
        ({"state": "done", "executed_volume": "0.4", "time_in_force": "ioc"}, ReportStatus.EXPIRED),
        ({"state": "cancel", "executed_volume": "0", "time_in_force": "post_only"}, ReportStatus.CANCELLED),
        # A buy by its total, placed by hand: what is left of the total counts as cancelled.
        ({"state": "cancel", "executed_volume": "0.4", "ord_type": "price", "volume": None}, ReportStatus.FILLED),
    ],
)
def test_an_orders_status_is_made_of_its_state_and_what_it_got(changes: dict[str, Any], status: ReportStatus) -> None:
    assert CODEC.order(body({**ORDER, "trades": [], **changes}), SYMBOLS, NOW).status is status


@pytest.mark.parametrize(
    "changes", [{"state": "asleep"}, {"side": "left"}, {"ord_type": "magic"}, {"executed_volume": "NaN"}]
)
def test_an_order_that_isnt_as_documented_has_a_named_error(changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedShape):
        CODEC.order(body({**ORDER, **changes}), SYMBOLS, NOW)


def test_a_fill_in_the_stream_has_its_own_price_quantity_and_fee() -> None:
    news = USER.read(body(ORDER_EVENT))

    assert isinstance(news, OrderNews)
    assert news.subscription == ONLY
    report = news.report
    assert (report.client_order_id, report.status) == ("alice-1", ReportStatus.PARTIALLY_FILLED)
    assert (report.quantity, report.filled_quantity) == (Decimal("0.01"), Decimal("0.0031422"))
    (fill,) = report.fills
    assert (fill.price, fill.quantity, fill.fee) == (Decimal(1453000), Decimal("0.0031422"), Decimal("2.2828083"))
    assert (fill.liquidity, fill.fee_asset, fill.side) == ("maker", "KRW", Side.BUY)


@pytest.mark.parametrize(("state", "status"), [("wait", ReportStatus.WORKING), ("cancel", ReportStatus.CANCELLED)])
def test_a_change_without_a_fill_has_the_orders_price(state: str, status: ReportStatus) -> None:
    event = {
        **ORDER_EVENT, "state": state, "trade_uuid": None, "executed_volume": 0, "remaining_volume": 0.01,
        "trade_fee": None, "is_maker": None, "trade_timestamp": None,
    }  # fmt: skip
    news = USER.read(body(event))

    assert isinstance(news, OrderNews)
    assert (news.report.status, news.report.price, news.report.fills) == (status, Decimal(1453000), ())


def test_assets_tell_what_is_free_and_what_is_locked() -> None:
    event = (
        b'{"type":"myAsset","asset_uuid":"e635f223-1609-4969-8fb6-4376937baad6","assets":[{"currency":"KRW",'
        b'"balance":1386929.37231066771348207123,"locked":10329.670127489597585685}],"asset_timestamp":1710146517259,'
        b'"timestamp":1710146517267,"stream_type":"REALTIME"}'
    )
    held = AssetBalance("KRW", Decimal("1386929.37231066771348207123"), Decimal("10329.670127489597585685"))

    assert USER.read(event) == BalanceNews(ONLY, (held,), 1710146517259), "every digit counts"


@pytest.mark.parametrize("dialect", [MARKET, USER])
def test_the_probe_is_answered_by_being_alive(dialect: Any) -> None:
    frame, args = b'{"status":"UP"}', (0,) if dialect is MARKET else ()

    assert dialect.read(frame, *args) == Alive()


def test_a_refused_key_in_the_stream_is_one() -> None:
    found = USER.read(b'{"error":{"name":"INVALID_AUTH","message":"..."}}')

    assert isinstance(found, Refused)
    assert isinstance(found.error, KeyRefused)


def test_a_subscription_states_everything_by_type() -> None:
    streams = {*MARKET.streams("BTC/KRW", ["1m", "1d"]), *MARKET.streams("LAMB/KRW", [])}
    ticket, *types, form = msgspec.json.decode(MARKET.subscribe(7, streams))

    assert ticket == {"ticket": "des-7"}
    assert form == {"format": "SIMPLE"}
    assert types == [
        {"type": "candle.1m", "codes": ["KRW-BTC"]},
        {"type": "orderbook", "codes": ["KRW-BTC", "KRW-LAMB"]},
        {"type": "trade", "codes": ["KRW-BTC", "KRW-LAMB"], "is_only_realtime": True},
    ]


def test_a_growing_candle_never_says_that_it_is_closed() -> None:
    frame = {
        "ty": "candle.1m", "cd": "KRW-BTC", "cdttmu": "2026-11-21T11:59:00", "op": 1, "hp": 4, "lp": 1, "tp": 2,
        "catv": 0.5, "tms": 1763726340000, "st": "REALTIME",
    }  # fmt: skip
    candle = MARKET.read(body(frame), 5)

    assert isinstance(candle, CandleUpdate)
    assert (candle.timeframe, candle.close, candle.closed) == ("1m", Decimal(2), False)
    assert candle.opened_ms == int(datetime(2026, 11, 21, 11, 59, tzinfo=UTC).timestamp() * 1000)


def recorded_frames() -> list[str]:
    with gzip.open(REAL, "rt") as lines:
        return [found[1] for line in lines if (found := re.search(r"b'(.*)'", line))]


@pytest.mark.skipif(not REAL.exists(), reason="the real recording isn't here (../shared/data)")
def test_every_recorded_frame_is_read_and_every_recorded_book_is_valid() -> None:
    books: dict[str, WholeBook] = {}
    trades = 0
    for frame in recorded_frames():
        event = MARKET.read(frame, 0)
        if isinstance(event, WholeDepth):
            book = books.setdefault(event.symbol, WholeBook(event.symbol))
            book.on_whole(event)
            assert book.valid or book.reason == "the spread is above 10 %", book.reason
        else:
            assert isinstance(event, PublicTrade)
            trades += 1

    assert trades > 0
    assert books
    assert sum(book.gaps for book in books.values()) == 0


def test_a_candle_opens_in_utc_and_is_closed_by_the_clock() -> None:
    rows = [
        {
            "market": "KRW-BTC", "candle_date_time_utc": f"2026-11-21T11:{minute}:00", "opening_price": 100.0,
            "high_price": 102.0, "low_price": 99.0, "trade_price": 101.0, "candle_acc_trade_volume": 3.5, "unit": 1,
        }
        for minute in (59, 58)
    ]  # fmt: skip
    older, newer = CODEC.candles(body(rows), "BTC/KRW", "1m", 60, datetime(2026, 11, 21, 11, 59, 30, tzinfo=UTC))

    assert older.opened_at == datetime(2026, 11, 21, 11, 58, tzinfo=UTC)
    assert (older.closed, newer.closed) == (True, False)
    assert (older.close, older.volume) == (Decimal(101), Decimal("3.5"))


def test_levels_without_a_size_are_none() -> None:
    book = [{
        "market": "KRW-BTC", "timestamp": 1763726340000, "orderbook_units": [
            {"ask_price": 101, "bid_price": 100, "ask_size": 1.5, "bid_size": 2.5},
            {"ask_price": 102, "bid_price": 0, "ask_size": 1, "bid_size": 0},
        ],
    }]  # fmt: skip
    depth = CODEC.depth(body(book))

    assert depth.last_id == 1763726340000
    assert depth.bids == ((Decimal(100), Decimal("2.5")),)
    assert len(depth.asks) == 2

