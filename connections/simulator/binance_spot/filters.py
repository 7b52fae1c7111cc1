"""Binance's symbol filters: shown by exchangeInfo, checked on every order."""

from decimal import Decimal
from typing import Any

from connections.simulator.accounts import Account
from connections.simulator.binance.errors import filter_failure
from connections.simulator.exchange import Market, Ticket
from connections.simulator.instruments import Instrument

AVERAGE_MINUTES = 5
_MAX_ALGO_ORDERS = 5


def describe(instrument: Instrument) -> list[dict[str, Any]]:
    """The `filters` of a symbol in exchangeInfo."""
    up, down = f"{instrument.price_band.normalize():f}", f"{(1 / instrument.price_band).normalize():f}"
    return [
        {"filterType": "PRICE_FILTER", "minPrice": _fixed(instrument.tick), "maxPrice": _fixed(instrument.max_price),
         "tickSize": _fixed(instrument.tick)},
        {"filterType": "LOT_SIZE", "minQty": _fixed(instrument.min_quantity), "maxQty": _fixed(instrument.max_quantity),
         "stepSize": _fixed(instrument.lot)},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": _fixed(instrument.max_market_quantity),
         "stepSize": "0.00000000"},
        {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": up, "bidMultiplierDown": down,
         "askMultiplierUp": up, "askMultiplierDown": down, "avgPriceMins": AVERAGE_MINUTES},
        {"filterType": "NOTIONAL", "minNotional": _fixed(instrument.min_notional), "applyMinToMarket": True,
         "maxNotional": _fixed(instrument.max_notional), "applyMaxToMarket": False, "avgPriceMins": AVERAGE_MINUTES},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": instrument.max_open_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": _MAX_ALGO_ORDERS},
    ]  # fmt: skip


def check(ticket: Ticket, account: Account, market: Market) -> None:
    """Raises the filter failure that an order runs into, if any."""
    instrument = market.instrument
    for price in (ticket.price, ticket.stop_price):
        if price is not None:
            _check_price(price, instrument)
    if ticket.price is not None:
        _check_band(ticket, market)
    if ticket.quote_quantity is None:
        _check_quantity(ticket, instrument)
    _check_notional(ticket, market)
    _check_open_orders(ticket, account, instrument)


def _check_price(price: Decimal, instrument: Instrument) -> None:
    if price < instrument.tick or price > instrument.max_price or price % instrument.tick:
        raise filter_failure("PRICE_FILTER")


def _check_band(ticket: Ticket, market: Market) -> None:
    average = market.tape.average_price(AVERAGE_MINUTES)
    band = market.instrument.price_band
    if ticket.price is not None and not average / band <= ticket.price <= average * band:
        raise filter_failure("PERCENT_PRICE_BY_SIDE")


def _check_quantity(ticket: Ticket, instrument: Instrument) -> None:
    quantity = ticket.quantity
    if quantity < instrument.min_quantity or quantity > instrument.max_quantity or quantity % instrument.lot:
        raise filter_failure("LOT_SIZE")
    if not ticket.type.has_limit and quantity > instrument.max_market_quantity:
        raise filter_failure("MARKET_LOT_SIZE")


def _check_notional(ticket: Ticket, market: Market) -> None:
    price = ticket.price or market.tape.average_price(AVERAGE_MINUTES)
    notional = ticket.quote_quantity if ticket.quote_quantity is not None else price * ticket.quantity
    too_much = ticket.price is not None and notional > market.instrument.max_notional
    if notional < market.instrument.min_notional or too_much:
        raise filter_failure("NOTIONAL")


def _check_open_orders(ticket: Ticket, account: Account, instrument: Instrument) -> None:
    if len(account.open_orders) < min(instrument.max_open_orders, _MAX_ALGO_ORDERS):
        return
    orders = account.open_on(ticket.symbol)
    if len(orders) >= instrument.max_open_orders:
        raise filter_failure("MAX_NUM_ORDERS")
    waiting = sum(order.type.is_triggered for order in orders)
    if ticket.type.is_triggered and waiting >= _MAX_ALGO_ORDERS:
        raise filter_failure("MAX_NUM_ALGO_ORDERS")


def _fixed(value: Decimal) -> str:
    return f"{value:.8f}"
