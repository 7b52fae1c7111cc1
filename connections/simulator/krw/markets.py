"""The won markets that can be listed, and in which steps their prices move."""

from decimal import Decimal

from connections.simulator.instruments import Instrument

MIN_TOTAL = Decimal(5000)
MAX_TOTAL = Decimal(1_000_000_000)
_LOT = Decimal("0.00000001")


def _won(base: str, tick: str, start_price: str, level_quantity: str) -> Instrument:
    most = Decimal(1_000_000_000)
    return Instrument(
        f"KRW-{base}", base, "KRW", Decimal(tick), _LOT, _LOT, most, most, MIN_TOTAL, Decimal(start_price),
        max_notional=MAX_TOTAL, max_price=most, level_quantity=Decimal(level_quantity),
    )  # fmt: skip


INSTRUMENTS = {
    instrument.symbol: instrument
    for instrument in (
        _won("BTC", "1000", "89886000", "0.4"),
        _won("ETH", "1000", "3894000", "6"),
        _won("XRP", "1", "3120", "9000"),
    )
}
DEFAULT_MARKETS = tuple(INSTRUMENTS)


def price_step(bands: tuple[tuple[str, str], ...], price: Decimal) -> Decimal:
    """The step around a price; the bands begin with the highest."""
    return next(Decimal(step) for lowest, step in bands if price >= Decimal(lowest))
