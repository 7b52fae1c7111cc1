"""The perpetual contracts that the simulator lists."""

from dataclasses import replace
from decimal import Decimal

from connections.simulator.instruments import INSTRUMENTS, Instrument

# A contract's price may lie so far above or below the mark price.
PRICE_BAND = Decimal("0.05")

PERPETUALS: dict[str, Instrument] = {
    "BTCUSDT": replace(
        INSTRUMENTS["BTCUSDT"], tick=Decimal("0.10"), lot=Decimal("0.001"), min_quantity=Decimal("0.001"),
        max_quantity=Decimal(1000), max_market_quantity=Decimal(120), min_notional=Decimal(100),
    ),
    "ETHUSDT": replace(
        INSTRUMENTS["ETHUSDT"], lot=Decimal("0.001"), min_quantity=Decimal("0.001"), max_quantity=Decimal(10_000),
        max_market_quantity=Decimal(2000), min_notional=Decimal(20),
    ),
}  # fmt: skip
DEFAULT_PERPETUALS = tuple(PERPETUALS)
