"""What every codec needs: bodies as typed records, amounts that are numbers, and a venue's names of its symbols.

Knows no sockets; unknown fields are tolerated, wrong ones are not.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from connections.events import PublicTrade
from connections.exchanges.contract import Levels
from connections.gateways import SymbolRules, UnexpectedShape
from desproject.lib.errors import InvalidInput

T = TypeVar("T")
Row = TypeVar("Row", bound=msgspec.Struct)


def decode(body: bytes | str | msgspec.Raw, kind: Any) -> Any:
    """``body`` as ``kind``. Raises UnexpectedShape, which doesn't quote the body."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedShape(f"the exchange's answer isn't as documented: {error}") from None


def decode_all(body: bytes | str | msgspec.Raw, kind: Any) -> tuple[Any, ...]:
    """A list of ``kind``. Raises UnexpectedShape."""
    found: tuple[Any, ...] = decode(body, tuple[kind, ...])
    return found


def amount(value: Decimal) -> Decimal:
    """The value. Raises UnexpectedShape for NaN and infinities."""
    if not value.is_finite():
        raise UnexpectedShape("the exchange's answer holds an amount that is no number")
    return value


def price(value: Decimal) -> Decimal:
    """The price. Raises UnexpectedShape for what can't be one."""
    if not value.is_finite() or value <= 0:
        raise UnexpectedShape("the exchange sent a price that can't be one")
    return value


def amounts(levels: Levels) -> Levels:
    """The levels of a book. Raises UnexpectedShape where one is no number."""
    for at, size in levels:
        if not (at.is_finite() and size.is_finite()):
            raise UnexpectedShape("the exchange sent a book level that is no number")
    return levels


def known(table: Mapping[str, T], word: str, what: str) -> T:
    """DES's word for the exchange's. Raises UnexpectedShape for one that the documents don't have."""
    if word not in table:
        raise UnexpectedShape(f"unknown {what} in the exchange's answer")
    return table[word]


class Symbols:
    """The exchange's symbols: its spelling, DES's spelling, and the filters of those that are traded."""

    def __init__(self, rules: Iterable[tuple[str, SymbolRules]]) -> None:
        pairs = list(rules)
        self.rules = {found.symbol: found for _, found in pairs}
        self._names = {spelling: found.symbol for spelling, found in pairs}
        self._spellings = {found.symbol: spelling for spelling, found in pairs}

    def spelling(self, symbol: str) -> str:
        """``BTC/USDT`` → ``BTCUSDT``. Raises InvalidInput for a symbol that isn't traded."""
        found = self._spellings.get(symbol)
        if found is None:
            raise InvalidInput("this symbol isn't traded here", fields={"symbol": ["not traded on this exchange"]})
        return found

    def rules_of(self, symbol: str) -> SymbolRules:
        """Raises InvalidInput for a symbol that isn't traded."""
        self.spelling(symbol)
        return self.rules[symbol]

    def name(self, spelling: str) -> str:
        """``BTCUSDT`` → ``BTC/USDT``; a spelling that isn't known (no longer traded) stays as it is."""
        return self._names.get(spelling, spelling)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._spellings


def named(rows: Mapping[str, type[msgspec.Struct]], fields: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The records under a venue's names for their fields. A record that stands in another one comes before it."""
    made: dict[Any, Any] = {}
    found = {}
    for record, row in rows.items():
        inner = {field.name: _within(field.type, made) for field in msgspec.structs.fields(row)}
        found[record] = made[row] = renamed(row, fields[record], **inner)
    return found


def _within(kind: Any, made: Mapping[Any, Any]) -> Any:
    """A field's type, with the record in it (or in its tuple) under the venue's names."""
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return tuple[_within(get_args(kind)[0], made), ...]  # type: ignore[misc]
    return made.get(kind, kind) if isinstance(kind, type) else kind


def renamed(row: type[Row], names: Mapping[str, str], **types: Any) -> type[Row]:
    """The record with a venue's names for its fields; those that are the same are left out. ``types`` replaces some.

    The same names make the same type, and msgspec keeps what it knows of one.
    """
    return _renamed(row, tuple(sorted(names.items())), tuple(sorted(types.items(), key=lambda pair: pair[0])))


@lru_cache(maxsize=512)
def _renamed(row: type[Row], names: tuple[tuple[str, str], ...], types: tuple[tuple[str, Any], ...]) -> type[Row]:
    kinds = dict(types)
    fields = [
        (found.name, kinds.get(found.name, found.type), msgspec.field(default=found.default))
        if found.default is not msgspec.NODEFAULT
        else (found.name, kinds.get(found.name, found.type))
        for found in msgspec.structs.fields(row)
    ]
    return msgspec.defstruct(row.__name__, fields, bases=(row,), rename=dict(names))  # type: ignore[return-value]


class TradeEvent(msgspec.Struct):
    """A public trade as a stream tells it."""

    symbol: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int


def trade_told(row: TradeEvent, symbols: Symbols, seen_ns: int) -> PublicTrade:
    """Raises UnexpectedShape."""
    symbol = symbols.name(row.symbol)
    return PublicTrade(symbol, seen_ns, row.trade_id, price(row.price), amount(row.quantity), row.executed_ms)
