"""The four dialects as a chaos run uses them: what is traded there, and how much of the load each can bear.

All tenants come from one address, as the tenants of one machine do. So the orders are shared out by what the venues
allow one address or account (EXCHANGES.md): Upbit takes 8 orders a second from all of them together, Binance spot
6000 weight a minute, USD-M 1200 orders a minute an account and 2400 weight, Bithumb 140 private requests a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp


@dataclass(frozen=True, slots=True)
class Venue:
    """``share`` of the tenants and of the orders; ``usual`` is what an order is worth in the quote asset."""

    exchange: str
    share: float
    symbol: str
    strategy_symbol: str
    money: Mapping[str, str]
    usual: Decimal
    lot: Decimal
    tick: Decimal
    # Where the simulator's faults strike: any request of the venue, placing an order. The won venues share paths.
    prefix: str
    place_path: str
    quote_path: str
    # The shortest that all of a venue's candles come in.
    timeframe: str = "1m"

    @property
    def is_margin(self) -> bool:
        return ":" in self.symbol

    @property
    def limits(self) -> dict[str, Any]:
        """What every tenant there may do at most; the load tries for more."""
        return {
            "max_order_size": str(3 * self.usual), "max_position_size": str(20 * self.usual), "max_open_orders": 4,
            "symbols": [self.symbol, self.strategy_symbol],
        }  # fmt: skip

    async def price(self, session: aiohttp.ClientSession, simulator: str) -> Decimal:
        """The middle of the book, asked of the simulator. Raises aiohttp.ClientError, LookupError."""
        timeout = aiohttp.ClientTimeout(total=3)
        async with session.get(f"{simulator}{self.quote_path}", timeout=timeout) as answer:
            answer.raise_for_status()
            told = await answer.json()
        if isinstance(told, list):
            unit = told[0]["orderbook_units"][0]
            bid, ask = Decimal(str(unit["bid_price"])), Decimal(str(unit["ask_price"]))
        else:
            bid, ask = Decimal(told["bidPrice"]), Decimal(told["askPrice"])
        return (bid + ask) / 2


VENUES = (
    Venue(
        "binance_spot", 0.5, "BTC/USDT", "ETH/USDT", {"USDT": "50000"}, Decimal(200), Decimal("0.00001"),
        Decimal("0.01"), "/api/", "/api/v3/order", "/api/v3/ticker/bookTicker?symbol=BTCUSDT",
        timeframe="1s",
    ),
    Venue(
        "binance_usdm", 0.22, "BTC/USDT:USDT", "ETH/USDT:USDT", {"USDT": "50000"}, Decimal(300), Decimal("0.001"),
        Decimal("0.1"), "/fapi/", "/fapi/v1/order", "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT",
    ),
    Venue(
        "upbit", 0.08, "BTC/KRW", "ETH/KRW", {"KRW": "60000000"}, Decimal(200_000), Decimal("0.00001"),
        Decimal(1000), "/v1/", "/v1/orders", "/upbit/v1/orderbook?markets=KRW-BTC",
    ),
    Venue(
        "bithumb", 0.2, "BTC/KRW", "ETH/KRW", {"KRW": "60000000"}, Decimal(200_000), Decimal("0.00001"),
        Decimal(1000), "/v1/", "/v2/orders", "/bithumb/v1/orderbook?markets=KRW-BTC",
    ),
)  # fmt: skip


def spread(tenants: int) -> list[Venue]:
    """Each tenant's venue, by the venues' shares; none is left out where there are enough tenants."""
    counts = {venue.exchange: max(1, round(venue.share * tenants)) for venue in VENUES}
    counts[VENUES[0].exchange] += tenants - sum(counts.values())
    return [venue for venue in VENUES for _ in range(counts[venue.exchange])]
