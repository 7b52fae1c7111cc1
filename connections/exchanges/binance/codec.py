"""Binance's words and amounts as DES's, whichever venue. Knows no sockets; unknown fields are tolerated, wrong ones are
not."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

import msgspec

from connections.exchanges.wire import Symbols, amount, amounts, decode, known, price
from connections.gateways import Candle, ReportStatus, Side, SymbolRules, UnexpectedShape
from desproject.lib.clock import from_millis

# What every venue's codec has, for Binance's own modules.
__all__ = [
    "SIDES", "STATUSES", "ErrorAnswer", "FilterRow", "QuoteRow", "Symbols", "TradeRow", "amount", "amounts", "decode",
    "known", "price", "read_candles", "read_rows", "read_time", "symbol_rules",
]  # fmt: skip

T = TypeVar("T")
STATUSES = {
    "NEW": ReportStatus.WORKING,
    "PENDING_NEW": ReportStatus.WORKING,
    "PENDING_CANCEL": ReportStatus.WORKING,
    "PARTIALLY_FILLED": ReportStatus.PARTIALLY_FILLED,
    "FILLED": ReportStatus.FILLED,
    "CANCELED": ReportStatus.CANCELLED,
    "REJECTED": ReportStatus.REJECTED,
    "EXPIRED": ReportStatus.EXPIRED,
    "EXPIRED_IN_MATCH": ReportStatus.EXPIRED,
}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}


class ErrorAnswer(msgspec.Struct):
    code: int
    msg: str = ""


class _TimeAnswer(msgspec.Struct, rename="camel"):
    server_time: int


class QuoteRow(Protocol):
    """The best prices of a symbol, as REST tells them; a side that is empty has price 0."""

    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class TradeRow(Protocol):
    """A public trade, as REST tells it, with the id that the stream gives it."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int


class FilterRow(Protocol):
    """One filter of a symbol, whichever names the venue has for its numbers; 0 where it has no such number."""

    kind: str
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal


def symbol_rules(symbol: str, base: str, quote: str, rows: Iterable[FilterRow], no_filter: FilterRow) -> SymbolRules:
    """A symbol's filters as DES's rules."""
    filters = {row.kind: row for row in rows}
    price_filter, lot = filters.get("PRICE_FILTER", no_filter), filters.get("LOT_SIZE", no_filter)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or no_filter
    return SymbolRules(
        symbol=symbol,
        base=base,
        quote=quote,
        price_step=amount(price_filter.price_step),
        quantity_step=amount(lot.quantity_step),
        min_quantity=amount(lot.min_quantity),
        max_quantity=amount(lot.max_quantity),
        min_notional=amount(notional.min_notional),
        market_max_quantity=amount(filters.get("MARKET_LOT_SIZE", no_filter).max_quantity),
    )


def read_rows(body: bytes, kind: type[T]) -> tuple[T, ...]:
    """A list of records, or the one record that the venue answers where one was asked for."""
    if body.lstrip()[:1] == b"{":
        return (decode(body, kind),)
    found: tuple[T, ...] = decode(body, tuple[kind, ...])  # type: ignore[valid-type]
    return found


def read_time(body: bytes) -> int:
    """The exchange's time in epoch milliseconds."""
    answer: _TimeAnswer = decode(body, _TimeAnswer)
    return answer.server_time


# A candle is a list: open time, open, high, low, close, volume, close time, and more that DES doesn't read.
_KLINE_COLUMNS = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, int]
_KLINES = list[list[int | str]]


def read_candles(body: bytes, symbol: str, timeframe: str, now_ms: int) -> list[Candle]:
    return [_candle(row, symbol, timeframe, now_ms) for row in decode(body, _KLINES)]


def _candle(row: Sequence[int | str], symbol: str, timeframe: str, now_ms: int) -> Candle:
    try:
        opened, first, high, low, last, volume, ends = msgspec.convert(row[:7], _KLINE_COLUMNS)
    except msgspec.ValidationError as error:
        raise UnexpectedShape(f"a candle isn't as documented: {error}") from None
    return Candle(
        symbol, timeframe, from_millis(opened), amount(first), amount(high), amount(low), amount(last),
        amount(volume), closed=ends < now_ms,
    )  # fmt: skip
