"""Binance spot's signed methods: orders, and what an account can read of itself."""

from decimal import Decimal
from enum import StrEnum

from connections.simulator.accounts import InsufficientBalance
from connections.simulator.binance import errors
from connections.simulator.binance.call import Call
from connections.simulator.binance.market_payloads import Json
from connections.simulator.binance.new_ids import new_client_id
from connections.simulator.binance.params import Params
from connections.simulator.binance_spot import filters, payloads
from connections.simulator.exchange import DuplicateOrder, Ticket, WouldTrigger
from connections.simulator.matching import Order, OrderType, Side, TimeInForce, WouldTake

_DAY_MS = 86_400_000
_NEEDED: dict[OrderType, tuple[str, ...]] = {
    OrderType.LIMIT: ("timeInForce", "quantity", "price"),
    OrderType.LIMIT_MAKER: ("quantity", "price"),
    OrderType.MARKET: (),
    OrderType.STOP_LOSS: ("quantity", "stopPrice"),
    OrderType.TAKE_PROFIT: ("quantity", "stopPrice"),
    OrderType.STOP_LOSS_LIMIT: ("timeInForce", "quantity", "price", "stopPrice"),
    OrderType.TAKE_PROFIT_LIMIT: ("timeInForce", "quantity", "price", "stopPrice"),
}
_FORBIDDEN: dict[OrderType, tuple[str, ...]] = {
    OrderType.LIMIT: ("stopPrice", "quoteOrderQty"),
    OrderType.LIMIT_MAKER: ("stopPrice", "timeInForce", "quoteOrderQty"),
    OrderType.MARKET: ("price", "stopPrice", "timeInForce"),
    OrderType.STOP_LOSS: ("price", "timeInForce", "quoteOrderQty"),
    OrderType.TAKE_PROFIT: ("price", "timeInForce", "quoteOrderQty"),
    OrderType.STOP_LOSS_LIMIT: ("quoteOrderQty",),
    OrderType.TAKE_PROFIT_LIMIT: ("quoteOrderQty",),
}
_UNSUPPORTED = {
    "icebergQty": "Iceberg orders are not supported for this symbol.",
    "trailingDelta": "Trailing stop orders are not supported for this symbol.",
}


class ResponseType(StrEnum):
    ACK = "ACK"
    RESULT = "RESULT"
    FULL = "FULL"


class CancelRestriction(StrEnum):
    ONLY_NEW = "ONLY_NEW"
    ONLY_PARTIALLY_FILLED = "ONLY_PARTIALLY_FILLED"


def new_order(call: Call) -> Json:
    ticket, response = _checked_ticket(call)
    call.order_limiter.require_room(call.account.api_key, call.now_ms)
    seen = len(call.account.fills)
    try:
        order = call.exchange.place(call.account, ticket)
    except DuplicateOrder:
        raise errors.rejected("Duplicate order sent.") from None
    except InsufficientBalance:
        raise errors.rejected("Account has insufficient balance for requested action.") from None
    except WouldTake:
        raise errors.rejected("Order would immediately match and take.") from None
    except WouldTrigger:
        raise errors.rejected("Stop price would trigger immediately.") from None
    call.order_limiter.placed(call.account.api_key, call.now_ms)
    if order.executed:
        call.order_limiter.first_filled(call.account.api_key, call.now_ms)
    return _answer(call, order, response, seen)


def test_order(call: Call) -> Json:
    _checked_ticket(call)
    return payloads.test_commission(call.account) if call.params.flag("computeCommissionRates") else {}


def query_order(call: Call) -> Json:
    return payloads.queried_order(_find(call, errors.unknown_order()))


def cancel_order(call: Call) -> Json:
    _require_trading(call)
    order = _find(call, errors.unknown_cancel())
    restriction = call.params.choice(
        "cancelRestrictions", CancelRestriction, errors.ApiError(-1145, "Invalid cancelRestrictions")
    )
    if not order.is_open:
        raise errors.unknown_cancel()
    if restriction is not None and not restriction.endswith(order.status):
        raise errors.ApiError(-2011, "Order was not canceled due to cancel restrictions.")
    return _cancel(call, order)


def cancel_open_orders(call: Call) -> list[Json]:
    _require_trading(call)
    orders = call.account.open_on(call.market().instrument.symbol)
    if not orders:
        raise errors.unknown_cancel()
    return [_cancel(call, order) for order in orders]


def open_orders(call: Call) -> list[Json]:
    symbol = call.params.optional_symbol()
    if symbol is not None:
        call.market_named(symbol)
    return [
        payloads.queried_order(order) for order in call.account.open_orders.values() if symbol in (None, order.symbol)
    ]


def all_orders(call: Call) -> list[Json]:
    symbol = call.market().instrument.symbol
    from_id = call.params.integer("orderId")
    start, end = _period(call)
    orders = [
        order
        for order in call.account.orders.values()
        if order.symbol == symbol
        and (from_id is None or order.order_id >= from_id)
        and (start is None or order.created_ms >= start)
        and (end is None or order.created_ms <= end)
    ]
    limit = call.params.limit(500, 1000)
    chosen = orders[-limit:] if from_id is None and start is None else orders[:limit]
    return [payloads.queried_order(order) for order in chosen]


def my_trades(call: Call) -> list[Json]:
    symbol = call.market().instrument.symbol
    order_id, from_id = call.params.integer("orderId"), call.params.integer("fromId")
    start, end = _period(call)
    fills = [
        fill
        for fill in call.account.fills
        if fill.symbol == symbol
        and (order_id is None or fill.order_id == order_id)
        and (from_id is None or fill.trade_id >= from_id)
        and (start is None or fill.time_ms >= start)
        and (end is None or fill.time_ms <= end)
    ]
    limit = call.params.limit(500, 1000)
    chosen = fills[-limit:] if from_id is None and start is None else fills[:limit]
    return [payloads.own_trade(fill) for fill in chosen]


def account(call: Call) -> Json:
    return payloads.account_info(call.account, call.params.flag("omitZeroBalances"))


def commission(call: Call) -> Json:
    return payloads.commission_rates(call.account, call.market().instrument.symbol)


def trade_fees(call: Call) -> list[Json]:
    symbol = call.params.optional_symbol()
    markets = [call.market_named(symbol)] if symbol else call.exchange.markets.values()
    return [payloads.trade_fee(call.account, market.instrument.symbol) for market in markets]


def api_restrictions(call: Call) -> Json:
    return payloads.api_restrictions(call.account)


def order_counts(call: Call) -> list[Json]:
    counts = call.order_limiter.counts(call.account.api_key, call.now_ms).values()
    limits = [info for info in call.limits_info() if info["rateLimitType"] == "ORDERS"]
    return [{**info, "count": count} for info, count in zip(limits, counts, strict=True)]


# reading an order request


def _checked_ticket(call: Call) -> tuple[Ticket, ResponseType]:
    market = call.market()
    ticket = _ticket(call.params)
    default = ResponseType.FULL if ticket.type in (OrderType.LIMIT, OrderType.MARKET) else ResponseType.ACK
    invalid = errors.ApiError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    response = call.params.choice("newOrderRespType", ResponseType, invalid) or default
    _require_trading(call)
    filters.check(ticket, call.account, market)
    return ticket, response


def _ticket(params: Params) -> Ticket:
    side = params.choice("side", Side, errors.ApiError(-1117, "Invalid side."))
    kind = params.choice("type", OrderType, errors.ApiError(-1116, "Invalid orderType."))
    time_in_force = params.choice("timeInForce", TimeInForce, errors.ApiError(-1115, "Invalid timeInForce."))
    if side is None or kind is None:
        raise errors.missing("side" if side is None else "type")
    _require_combination(params, kind)
    return Ticket(
        symbol=params.symbol(),
        side=side,
        type=kind,
        quantity=_amount(params, "quantity", "Invalid quantity.") or Decimal(0),
        client_order_id=params.client_id("newClientOrderId") or new_client_id(),
        price=_amount(params, "price", "Invalid price."),
        time_in_force=time_in_force or TimeInForce.GTC,
        quote_quantity=_amount(params, "quoteOrderQty", "Invalid quote order quantity."),
        stop_price=_amount(params, "stopPrice", "Invalid stopPrice."),
        labels=_labels(params),
    )


def _require_combination(params: Params, kind: OrderType) -> None:
    for name, message in _UNSUPPORTED.items():
        if name in params:
            raise errors.ApiError(-1013, message)
    for name in _NEEDED[kind]:
        if name not in params:
            raise errors.missing(name)
    for name in _FORBIDDEN[kind]:
        if name in params:
            raise errors.not_required(name)
    if kind is OrderType.MARKET and "quantity" not in params and "quoteOrderQty" not in params:
        raise errors.missing_either("quantity", "quoteOrderQty")
    if kind is OrderType.MARKET and "quantity" in params and "quoteOrderQty" in params:
        raise errors.not_required("quoteOrderQty")


def _amount(params: Params, name: str, zero_message: str) -> Decimal | None:
    value = params.decimal(name)
    if value == 0:
        raise errors.ApiError(-1013, zero_message)
    return value


def _labels(params: Params) -> dict[str, int]:
    labels = {name: params.integer(name) for name in ("strategyId", "strategyType")}
    if (kind := labels["strategyType"]) is not None and kind < 1_000_000:
        raise errors.ApiError(-1134, "`strategyType` was less than 1000000.")
    return {name: value for name, value in labels.items() if value is not None}


def _require_trading(call: Call) -> None:
    if not call.account.permissions.can_trade:
        raise errors.bad_key()


# finding, cancelling, answering


def _find(call: Call, missing: errors.ApiError) -> Order:
    symbol = call.market().instrument.symbol
    order_id = call.params.integer("orderId")
    client_id = call.params.client_id("origClientOrderId")
    if order_id is None and client_id is None:
        raise errors.missing_either("origClientOrderId", "orderId")
    if order_id is None:
        order = call.account.latest_by_client_id.get((symbol, client_id or ""))
    else:
        order = call.account.orders.get(order_id)
    if order is None or order.symbol != symbol or client_id not in (None, order.client_order_id):
        raise missing
    return order


def _cancel(call: Call, order: Order) -> Json:
    cancel_id = call.params.client_id("newClientOrderId") or new_client_id()
    call.exchange.cancel(call.account, order, cancel_id)
    return payloads.cancelled_order(order, cancel_id)


def _answer(call: Call, order: Order, response: ResponseType, seen: int) -> Json:
    if response is ResponseType.ACK:
        return payloads.new_order_ack(order)
    if response is ResponseType.RESULT:
        return payloads.new_order_result(order)
    fills = [fill for fill in call.account.fills[seen:] if fill.order_id == order.order_id]
    return payloads.new_order_full(order, fills)


def _period(call: Call) -> tuple[int | None, int | None]:
    start, end = call.params.moment("startTime"), call.params.moment("endTime")
    if start is not None and end is not None and end - start > _DAY_MS:
        raise errors.ApiError(-1127, "More than 24 hours between startTime and endTime.")
    return start, end
