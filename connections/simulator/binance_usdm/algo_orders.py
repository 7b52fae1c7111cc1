"""Conditional orders: they wait outside the book until the last price has reached their trigger, and then place an
ordinary order with what the account can bear at that moment.

Prices are looked at ten times a second: a trailing stop doesn't see what was between two looks. Triggers by mark price
are not there.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from connections.simulator.accounts import Account, InsufficientBalance
from connections.simulator.binance import errors as shared
from connections.simulator.binance.call import Call
from connections.simulator.binance.market_payloads import Json, number
from connections.simulator.binance.new_ids import new_client_id
from connections.simulator.binance_usdm import errors
from connections.simulator.binance_usdm.trading_api import CLIENT_ID
from connections.simulator.exchange import DuplicateOrder, Exchange, Ticket
from connections.simulator.margin import MarginBank, PositionTooLarge, ReduceOnlyRejected
from connections.simulator.matching import OrderType, Side, TimeInForce, WouldTake

_LIMITS = {"STOP", "TAKE_PROFIT"}
# What may close a whole position, whatever its size is by then.
_CLOSING = {"STOP_MARKET", "TAKE_PROFIT_MARKET"}
_CALLBACK_RATES = (Decimal("0.1"), Decimal(10))


class _Kind(StrEnum):
    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"


@dataclass(slots=True)
class Trail:
    """Follows the price from its activation on, and fires when it has come back by ``rate`` per cent of its best."""

    side: Side
    rate: Decimal
    activation: Decimal | None
    best: Decimal | None = None

    def follows(self, last_price: Decimal) -> bool:
        """Takes in a price; whether it fires."""
        if self.best is None and not self._is_activated(last_price):
            return False
        best = last_price if self.best is None else self.best
        if self.side is Side.SELL:
            self.best = max(best, last_price)
            return last_price <= self.best * (1 - self.rate / 100)
        self.best = min(best, last_price)
        return last_price >= self.best * (1 + self.rate / 100)

    def _is_activated(self, last_price: Decimal) -> bool:
        if self.activation is None:
            return True
        return last_price >= self.activation if self.side is Side.SELL else last_price <= self.activation


@dataclass(slots=True, eq=False)
class AlgoOrder:
    """A conditional order; `ticket` is what it places."""

    algo_id: int
    kind: str
    ticket: Ticket
    trigger: Decimal
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    order_id: int = 0
    closes_position: bool = False
    trail: Trail | None = None

    def is_reached(self, last_price: Decimal) -> bool:
        """Stops fire away from the position, take-profits towards it."""
        if self.trail is not None:
            return self.trail.follows(last_price)
        upwards = (self.ticket.side is Side.BUY) is self.kind.startswith("STOP")
        return last_price >= self.trigger if upwards else last_price <= self.trigger


class AlgoOrders:
    """All accounts' conditional orders. `tell` hears of every change of one."""

    def __init__(self, exchange: Exchange, bank: MarginBank, tell: Callable[[str, Json], None]) -> None:
        self._exchange = exchange
        self._bank = bank
        self._tell = tell
        self._orders: dict[str, list[AlgoOrder]] = defaultdict(list)
        self._next_id = 1

    def trigger(self) -> None:
        """Places what the last prices have reached."""
        for api_key, orders in self._orders.items():
            for order in orders:
                last_price = self._exchange.markets[order.ticket.symbol].tape.last_price
                if order.status == "NEW" and order.is_reached(last_price):
                    self._place(self._exchange.bank.get(api_key), order)

    def expire(self, api_key: str) -> None:
        """An account's conditional orders end with its positions."""
        for order in self._orders[api_key]:
            if order.status == "NEW":
                self._end(api_key, order, "EXPIRED")

    # methods

    def new(self, call: Call) -> Json:
        order = self._read(call)
        if order.trail is None and order.is_reached(call.market().tape.last_price):
            raise errors.would_trigger()
        if any(known.ticket.client_order_id == order.ticket.client_order_id for known in self._open(call)):
            raise errors.duplicate_id()
        self._next_id += 1
        self._orders[call.account.api_key].append(order)
        self._tell(call.account.api_key, _event(order, call.now_ms))
        return _shown(order)

    def query(self, call: Call) -> Json:
        return _shown(self._find(call, shared.unknown_order()))

    def open(self, call: Call) -> list[Json]:
        symbol = call.params.optional_symbol()
        return [_shown(order) for order in self._open(call) if symbol in (None, order.ticket.symbol)]

    def cancel(self, call: Call) -> Json:
        order = self._find(call, shared.unknown_cancel())
        if order.status != "NEW":
            raise shared.unknown_cancel()
        self._end(call.account.api_key, order, "CANCELED")
        return {
            "algoId": order.algo_id, "clientAlgoId": order.ticket.client_order_id, "code": "200", "msg": "success",
        }  # fmt: skip

    # inside

    def _read(self, call: Call) -> AlgoOrder:
        params = call.params
        if params.text("algoType") != "CONDITIONAL":
            raise shared.missing("algoType")
        kind = params.choice("type", _Kind, shared.ApiError(-1116, "Invalid orderType."))
        side = params.choice("side", Side, shared.ApiError(-1117, "Invalid side."))
        trigger, quantity, price = (params.decimal(name) for name in ("triggerPrice", "quantity", "price"))
        closes = params.flag("closePosition")
        _require(call, kind, side, closes=closes)
        assert kind is not None  # noqa: S101 - it was required
        assert side is not None  # noqa: S101 - it was required
        client_id = params.matching("clientAlgoId", CLIENT_ID) or new_client_id()
        ticket = Ticket(
            call.market().instrument.symbol, side, OrderType.LIMIT if kind in _LIMITS else OrderType.MARKET,
            quantity or Decimal(0), client_id, price if kind in _LIMITS else None, TimeInForce.GTC,
            reduce_only=params.flag("reduceOnly") or closes,
        )  # fmt: skip
        trail = _trail(call, side) if kind is _Kind.TRAILING_STOP_MARKET else None
        return AlgoOrder(
            self._next_id, kind, ticket, trigger or Decimal(0), call.now_ms, call.now_ms, closes_position=closes,
            trail=trail,
        )  # fmt: skip

    def _open(self, call: Call) -> list[AlgoOrder]:
        return [order for order in self._orders[call.account.api_key] if order.status == "NEW"]

    def _find(self, call: Call, missing: shared.ApiError) -> AlgoOrder:
        algo_id, client_id = call.params.integer("algoId"), call.params.matching("clientAlgoId", CLIENT_ID)
        for order in reversed(self._orders[call.account.api_key]):
            if order.algo_id == algo_id or (algo_id is None and order.ticket.client_order_id == client_id):
                return order
        raise missing

    def _place(self, account: Account, order: AlgoOrder) -> None:
        if order.closes_position:
            order.ticket = replace(order.ticket, quantity=self._held(account, order.ticket))
            if not order.ticket.quantity:
                return self._end(account.api_key, order, "EXPIRED")
        try:
            placed = self._exchange.place(account, order.ticket)
        except (DuplicateOrder, InsufficientBalance, ReduceOnlyRejected, PositionTooLarge, WouldTake):
            self._end(account.api_key, order, "REJECTED")
        else:
            order.order_id = placed.order_id
            self._end(account.api_key, order, "TRIGGERED")
        return None

    def _held(self, account: Account, ticket: Ticket) -> Decimal:
        """How much of the position an order of this side would close."""
        quantity = self._bank.margin_of(account).holdings[ticket.symbol].quantity
        return max(quantity if ticket.side is Side.SELL else -quantity, Decimal(0))

    def _end(self, api_key: str, order: AlgoOrder, status: str) -> None:
        order.status, order.updated_ms = status, self._exchange.now_ms()
        self._tell(api_key, _event(order, order.updated_ms))


def _require(call: Call, kind: _Kind | None, side: Side | None, *, closes: bool) -> None:
    """Raises ApiError for what such an order lacks, or has too much of."""
    params = call.params
    for name, value in (("type", kind), ("side", side)):
        if value is None:
            raise shared.missing(name)
    needed = ["callbackRate" if kind is _Kind.TRAILING_STOP_MARKET else "triggerPrice"]
    needed += ["price"] if kind in _LIMITS else []
    needed += [] if closes else ["quantity"]
    for name in needed:
        if params.decimal(name) is None:
            raise shared.missing(name)
    if closes and kind not in _CLOSING:
        raise errors.cannot_close_position()
    if closes and params.decimal("quantity"):
        raise errors.quantity_with_close_position()


def _trail(call: Call, side: Side) -> Trail:
    """From now on where no activation price is given. Raises ApiError."""
    rate, activation = call.params.decimal("callbackRate"), call.params.decimal("activatePrice")
    least, most = _CALLBACK_RATES
    if rate is None or not least <= rate <= most:
        raise errors.bad_callback_rate()
    return Trail(side, rate, activation, None if activation else call.market().tape.last_price)


def _shown(order: AlgoOrder) -> Json:
    ticket = order.ticket
    return {
        "algoId": order.algo_id,
        "clientAlgoId": ticket.client_order_id,
        "algoType": "CONDITIONAL",
        "orderType": order.kind,
        "symbol": ticket.symbol,
        "side": ticket.side,
        "positionSide": "BOTH",
        "timeInForce": ticket.time_in_force,
        "quantity": number(ticket.quantity),
        "algoStatus": order.status,
        "actualOrderId": str(order.order_id) if order.order_id else "",
        "triggerPrice": number(order.trigger),
        "price": number(ticket.price),
        "workingType": "CONTRACT_PRICE",
        "closePosition": order.closes_position,
        "priceProtect": False,
        "reduceOnly": ticket.reduce_only,
        **({"callbackRate": str(order.trail.rate)} if order.trail else {}),
        **({"activatePrice": number(order.trail.activation)} if order.trail and order.trail.activation else {}),
        "createTime": order.created_ms,
        "updateTime": order.updated_ms,
        "triggerTime": order.updated_ms if order.order_id else 0,
    }


def _event(order: AlgoOrder, event_ms: int) -> Json:
    ticket = order.ticket
    body = {
        "caid": ticket.client_order_id, "aid": order.algo_id, "at": "CONDITIONAL", "o": order.kind, "s": ticket.symbol,
        "S": ticket.side, "ps": "BOTH", "f": ticket.time_in_force, "q": number(ticket.quantity), "X": order.status,
        "ai": str(order.order_id) if order.order_id else "", "tp": number(order.trigger), "p": number(ticket.price),
        "wt": "CONTRACT_PRICE", "R": ticket.reduce_only,
    }  # fmt: skip
    return {"e": "ALGO_UPDATE", "E": event_ms, "T": order.updated_ms, "o": body}
