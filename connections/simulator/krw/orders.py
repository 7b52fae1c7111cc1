"""Placing, finding and cancelling orders at a won exchange. The order type `best` is not spoken."""

import re
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from connections.simulator.accounts import Account, Fill, InsufficientBalance
from connections.simulator.exchange import Exchange, Ticket, WouldTrigger
from connections.simulator.krw import errors, payloads
from connections.simulator.krw.markets import MAX_TOTAL, MIN_TOTAL, price_step
from connections.simulator.krw.payloads import Json
from connections.simulator.krw.wire import Wire
from connections.simulator.matching import Order, OrderType, Side, TimeInForce, WouldTake

_AMOUNT = re.compile(r"\d{1,20}(\.\d{1,20})?")
_DECIMALS = 8
_SIDES = {"bid": Side.BUY, "ask": Side.SELL}
_CONDITIONS = {"ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}
Params = Mapping[str, str]


class Orders:
    """One venue's orders. Ids of clients are used up by being sent, whatever becomes of the order."""

    def __init__(self, wire: Wire, exchange: Exchange) -> None:
        self._wire = wire
        self._exchange = exchange
        self._used_ids: dict[str, set[str]] = defaultdict(set)

    def place(self, account: Account, params: Params) -> Json:
        """Raises ApiError; the client's id is used up even then."""
        if not account.permissions.can_trade:
            raise errors.out_of_scope()
        client_id = params.get(self._wire.client_id, "")
        if client_id:
            if client_id in self._used_ids[account.api_key]:
                raise errors.used_id(self._wire.client_id)
            self._used_ids[account.api_key].add(client_id)
        ticket = self._ticket(params, client_id)
        try:
            order = self._exchange.place(account, ticket)
        except InsufficientBalance:
            raise errors.no_funds(ticket.side) from None
        except WouldTake:
            order = self._exchange.take_and_cancel(account, ticket)
        except WouldTrigger:
            raise errors.wrong_order(ticket.side) from None
        wire = self._wire
        return (payloads.accepted_body if wire.answers_whole_orders else payloads.ids_body)(wire, order)

    def cancel(self, account: Account, params: Params) -> Json:
        """Raises ApiError for an order that is unknown or has ended."""
        if not account.permissions.can_trade:
            raise errors.out_of_scope()
        order = self._find(account, params)
        if not order.is_open:
            raise errors.unknown_order()
        wire = self._wire
        body = self._body(account, order) if wire.answers_whole_orders else payloads.ids_body(wire, order)
        self._exchange.cancel(account, order, "")
        return body

    def look_up(self, account: Account, params: Params) -> Json:
        """Raises ApiError for an order that is unknown."""
        return self._body(account, self._find(account, params), with_trades=True)

    def chance(self, account: Account, params: Params) -> Json:
        """What can be ordered on a market. Raises ApiError."""
        market = self._exchange.markets.get(params.get("market", ""))
        if market is None:
            raise errors.invalid("market")
        return payloads.chance_body(account, market)

    def listed(self, account: Account, params: Params, states: tuple[str, ...] | None) -> list[Json]:
        """Orders in these states, or in the one asked for; newest first unless `order_by` says otherwise."""
        asked = params.get("state")
        shown = (asked,) if asked else states or ("wait",)
        start, end = int(params.get("start_time", 0)), int(params.get("end_time", 2**62))
        rows = [
            order
            for order in account.orders.values()
            if payloads.state(self._wire, order) in shown
            and params.get("market", order.symbol) == order.symbol
            and start <= order.created_ms <= end
        ]
        if params.get("order_by", "desc") == "desc":
            rows.reverse()
        limit, page = int(params.get("limit", 100)), int(params.get("page", 1))
        return [self._body(account, order) for order in rows[(page - 1) * limit : page * limit]]

    # inside

    def _body(self, account: Account, order: Order, *, with_trades: bool = False) -> Json:
        return payloads.order_body(self._wire, order, fills_of(account, order), with_trades=with_trades)

    def _find(self, account: Account, params: Params) -> Order:
        """By the exchange's id, which wins, or by the client's. Raises ApiError."""
        if told := params.get(self._wire.order_id) or params.get("uuid"):
            order = account.orders.get(payloads.order_id_of(told))
        elif told := params.get(self._wire.client_id):
            # Used once and never again, in whichever market.
            named = ((symbol, told) for symbol in self._exchange.markets)
            order = next(filter(None, map(account.latest_by_client_id.get, named)), None)
        else:
            raise errors.invalid(f"{self._wire.order_id} or {self._wire.client_id}")
        if order is None:
            raise errors.unknown_order()
        return order

    def _ticket(self, params: Params, client_id: str) -> Ticket:
        side = _SIDES.get(params.get("side", ""))
        symbol, kind = params.get("market", ""), params.get(self._wire.order_type, "")
        if side is None:
            raise errors.invalid("side")
        if symbol not in self._exchange.markets:
            raise errors.invalid("market")
        price, quantity = _amount(params, "price"), _amount(params, "volume")
        condition = params.get("time_in_force", "")
        if kind == "limit" and price and quantity:
            self._check_limit(side, price, quantity)
            return _limit(symbol, side, price, quantity, client_id, condition)
        if condition:
            raise errors.wrong_order(side)
        if kind == "price" and side is Side.BUY and price and quantity is None:
            _check_total(side, price)
            return Ticket(symbol, side, OrderType.MARKET, Decimal(0), client_id, quote_quantity=price)
        if kind == "market" and side is Side.SELL and quantity and price is None:
            best = self._exchange.markets[symbol].book.best(Side.BUY)
            _check_total(side, quantity * best[0] if best else Decimal(0))
            return Ticket(symbol, side, OrderType.MARKET, quantity, client_id)
        raise errors.wrong_order(side)

    def _check_limit(self, side: Side, price: Decimal, quantity: Decimal) -> None:
        if price % price_step(self._wire.price_bands, price):
            raise errors.bad_price(side)
        _check_total(side, price * quantity)


def fills_of(account: Account, order: Order) -> list[Fill]:
    return account.fills_by_order.get(order.order_id, [])


def _limit(symbol: str, side: Side, price: Decimal, quantity: Decimal, client_id: str, condition: str) -> Ticket:
    if condition == "post_only":
        return Ticket(symbol, side, OrderType.LIMIT_MAKER, quantity, client_id, price)
    if condition and condition not in _CONDITIONS:
        raise errors.invalid("time_in_force")
    time_in_force = _CONDITIONS.get(condition, TimeInForce.GTC)
    return Ticket(symbol, side, OrderType.LIMIT, quantity, client_id, price, time_in_force)


def _check_total(side: Side, total: Decimal) -> None:
    if total < MIN_TOTAL:
        raise errors.too_small(side)
    if total > MAX_TOTAL:
        raise errors.wrong_order(side)


def _amount(params: Params, name: str) -> Decimal | None:
    """None where it isn't given. Raises ApiError for what is no amount above 0 of at most eight decimals."""
    told = params.get(name)
    if told is None:
        return None
    if not _AMOUNT.fullmatch(told) or len(told.partition(".")[2].rstrip("0")) > _DECIMALS or not Decimal(told):
        raise errors.invalid(name)
    return Decimal(told)
