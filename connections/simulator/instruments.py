"""What can be traded: symbols with their steps and limits."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Instrument:
    """One spot market. Prices move in `tick`, quantities in `lot`; notionals are in the quote asset."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal
    start_price: Decimal
    max_notional: Decimal = Decimal(9_000_000)
    max_price: Decimal = Decimal(1_000_000)
    price_band: Decimal = Decimal(5)
    max_open_orders: int = 200
    # The walk's house quotes: typical base quantity of one level.
    level_quantity: Decimal = Decimal(1)


def _spot(base: str, quote: str, **numbers: str) -> Instrument:
    values: dict[str, Any] = {name: Decimal(text) for name, text in numbers.items()}
    return Instrument(base + quote, base, quote, min_quantity=values["lot"], **values)


INSTRUMENTS: dict[str, Instrument] = {
    instrument.symbol: instrument
    for instrument in (
        _spot(
            "BTC",
            "USDT",
            tick="0.01",
            lot="0.00001",
            max_quantity="9000",
            max_market_quantity="120",
            min_notional="5",
            start_price="61800",
            level_quantity="0.8",
        ),
        _spot(
            "ETH",
            "USDT",
            tick="0.01",
            lot="0.0001",
            max_quantity="9000",
            max_market_quantity="2000",
            min_notional="5",
            start_price="2680",
            level_quantity="12",
        ),
        _spot(
            "SOL",
            "USDT",
            tick="0.01",
            lot="0.001",
            max_quantity="90000",
            max_market_quantity="20000",
            min_notional="5",
            start_price="154",
            level_quantity="160",
        ),
        _spot(
            "ETH",
            "BTC",
            tick="0.00001",
            lot="0.0001",
            max_quantity="100000",
            max_market_quantity="2000",
            min_notional="0.0001",
            start_price="0.04337",
            level_quantity="15",
        ),
    )
}
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ETHBTC")
