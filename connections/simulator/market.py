"""What a market source says: steps of actions on the exchange, in order and with their spacing in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from connections.simulator.exchange import Exchange
from connections.simulator.matching import Side


class Action(Protocol):
    """One thing that the market does."""

    def apply(self, exchange: Exchange, symbol: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Actions that happen together, `delay` seconds (at speed 1) after the step before."""

    delay: float
    symbol: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Quotes:
    """House quotes to show: (side, price, quantity), 0 removes."""

    levels: tuple[tuple[Side, Decimal, Decimal], ...]

    def apply(self, exchange: Exchange, symbol: str) -> None:
        exchange.quote(symbol, self.levels)


@dataclass(frozen=True, slots=True)
class Take:
    """An anonymous market order."""

    side: Side
    quantity: Decimal

    def apply(self, exchange: Exchange, symbol: str) -> None:
        exchange.house_trade(symbol, self.side, self.quantity)


@dataclass(frozen=True, slots=True)
class Top:
    """The best bid and ask, as (price, quantity)."""

    bid: tuple[Decimal, Decimal]
    ask: tuple[Decimal, Decimal]

    def apply(self, exchange: Exchange, symbol: str) -> None:
        exchange.set_top(symbol, self.bid, self.ask)


@dataclass(frozen=True, slots=True)
class Print:
    """A trade that was recorded; `side` is the taker's."""

    side: Side
    price: Decimal
    quantity: Decimal

    def apply(self, exchange: Exchange, symbol: str) -> None:
        exchange.print_trade(symbol, self.side, self.price, self.quantity)


@dataclass(frozen=True, slots=True)
class Clear:
    """Every house quote goes."""

    def apply(self, exchange: Exchange, symbol: str) -> None:
        exchange.clear(symbol)


class MarketSource(Protocol):
    """Where one symbol's prices come from."""

    @property
    def symbol(self) -> str: ...

    @property
    def first_price(self) -> Decimal: ...

    def steps(self) -> Iterator[Step]:
        """Without end."""
