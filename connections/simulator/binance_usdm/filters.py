"""USD-M's symbol filters: shown by exchangeInfo, checked on every order."""

from decimal import Decimal
from typing import Any

from connections.simulator.binance_usdm import errors
from connections.simulator.binance_usdm.instruments import PRICE_BAND
from connections.simulator.exchange import Ticket
from connections.simulator.instruments import Instrument
from connections.simulator.matching import Side


def describe(instrument: Instrument) -> list[dict[str, Any]]:
    """The `filters` of a symbol in exchangeInfo."""
    least, lot = _text(instrument.min_quantity), _text(instrument.lot)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": _text(instrument.tick), "maxPrice": _text(instrument.max_price),
         "tickSize": _text(instrument.tick)},
        {"filterType": "LOT_SIZE", "minQty": least, "maxQty": _text(instrument.max_quantity), "stepSize": lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": least, "maxQty": _text(instrument.max_market_quantity),
         "stepSize": lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": instrument.max_open_orders},
        {"filterType": "MIN_NOTIONAL", "notional": _text(instrument.min_notional)},
        {"filterType": "PERCENT_PRICE", "multiplierUp": _text(1 + PRICE_BAND), "multiplierDown": _text(1 - PRICE_BAND),
         "multiplierDecimal": 4},
    ]  # fmt: skip


def check(ticket: Ticket, instrument: Instrument, mark: Decimal) -> None:
    """Raises the refusal that an order runs into, if any."""
    quantity = ticket.quantity
    if quantity <= 0:
        raise errors.quantity_not_positive()
    if quantity % instrument.lot:
        raise errors.too_precise()
    most = instrument.max_quantity if ticket.price is not None else instrument.max_market_quantity
    if quantity > most:
        raise errors.quantity_too_large()
    if ticket.price is not None:
        _check_price(ticket.side, ticket.price, instrument, mark)
    if not ticket.reduce_only and quantity * (ticket.price or mark) < instrument.min_notional:
        raise errors.too_small(instrument.min_notional)


def _check_price(side: Side, price: Decimal, instrument: Instrument, mark: Decimal) -> None:
    """Only what would be much too good for the other side is refused."""
    if price % instrument.tick:
        raise errors.price_off_tick()
    highest, lowest = mark * (1 + PRICE_BAND), mark * (1 - PRICE_BAND)
    if side is Side.BUY and price > highest:
        raise errors.price_too_high(highest.quantize(instrument.tick))
    if side is Side.SELL and price < lowest:
        raise errors.price_too_low(lowest.quantize(instrument.tick))


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"
