"""USD-M's signed methods: orders, positions, and what an account can read of itself."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

from connections.simulator.accounts import InsufficientBalance
from connections.simulator.binance import errors as shared
from connections.simulator.binance.call import Call
from connections.simulator.binance.market_payloads import Json, number
from connections.simulator.binance.new_ids import new_client_id
from connections.simulator.binance.params import Params
from connections.simulator.binance_spot import payloads as spot_payloads
from connections.simulator.binance_usdm import errors, filters, payloads
from connections.simulator.exchange import DuplicateOrder, Ticket
from connections.simulator.margin import (
    MAX_LEVERAGE,
    LeverageInUse,
    MarginBank,
    PositionTooLarge,
    ReduceOnlyRejected,
)
from connections.simulator.matching import Order, OrderType, Side, TimeInForce, WouldTake

CLIENT_ID = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
_WEEK_MS = 7 * 86_400_000
_STOPS = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")


class _Kind(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"


class _TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


class _Response(StrEnum):
    ACK = "ACK"
    RESULT = "RESULT"


class _MarginType(StrEnum):
    ISOLATED = "ISOLATED"
    CROSSED = "CROSSED"


def bank_of(call: Call) -> MarginBank:
    bank = call.exchange.bank
    assert isinstance(bank, MarginBank)  # noqa: S101 - this venue was built with one
    return bank


# orders


def new_order(call: Call) -> Json:
    if call.params.text("type") in _STOPS:
        raise errors.stops_live_elsewhere()
    ticket, response = _checked_ticket(call)
    call.order_limiter.require_room(call.account.api_key, call.now_ms)
    order = place(call, ticket)
    call.order_limiter.placed(call.account.api_key, call.now_ms)
    return payloads.placed_order(order) if response is _Response.RESULT else payloads.acknowledged_order(order)


def test_order(call: Call) -> Json:
    _checked_ticket(call)
    return {}


def place(call: Call, ticket: Ticket) -> Order:
    """Raises the refusal that an order runs into."""
    try:
        return call.exchange.place(call.account, ticket)
    except DuplicateOrder:
        raise errors.duplicate_id() from None
    except InsufficientBalance:
        raise errors.margin_insufficient() from None
    except ReduceOnlyRejected:
        raise errors.reduce_only_rejected() from None
    except PositionTooLarge:
        raise errors.position_too_large() from None
    except WouldTake:
        raise errors.would_take() from None


def query_order(call: Call) -> Json:
    return payloads.queried_order(_find(call, shared.unknown_order()))


def open_order(call: Call) -> Json:
    order = _find(call, shared.unknown_order())
    if not order.is_open:
        raise shared.unknown_order()
    return payloads.queried_order(order)


def cancel_order(call: Call) -> Json:
    _require_trading(call)
    order = _find(call, shared.unknown_cancel())
    if not order.is_open:
        raise shared.unknown_cancel()
    call.exchange.cancel(call.account, order, "")
    return payloads.placed_order(order)


def cancel_open_orders(call: Call) -> Json:
    _require_trading(call)
    for order in call.account.open_on(call.market().instrument.symbol):
        call.exchange.cancel(call.account, order, "")
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def open_orders(call: Call) -> list[Json]:
    symbol = call.params.optional_symbol()
    if symbol is not None:
        call.market_named(symbol)
    orders = call.account.open_orders.values()
    return [payloads.queried_order(order) for order in orders if symbol in (None, order.symbol)]


def all_orders(call: Call) -> list[Json]:
    symbol = call.market().instrument.symbol
    from_id = call.params.integer("orderId")
    within = _period(call)
    orders = [
        order
        for order in call.account.orders.values()
        if order.symbol == symbol and (from_id is None or order.order_id >= from_id) and within(order.created_ms)
    ]
    limit = call.params.limit(500, 1000)
    is_newest = from_id is None and "startTime" not in call.params
    return [payloads.queried_order(order) for order in (orders[-limit:] if is_newest else orders[:limit])]


def user_trades(call: Call) -> list[Json]:
    symbol = call.market().instrument.symbol
    order_id, from_id = call.params.integer("orderId"), call.params.integer("fromId")
    within = _period(call)
    fills = [
        fill
        for fill in call.account.fills
        if fill.symbol == symbol
        and order_id in (None, fill.order_id)
        and (from_id is None or fill.trade_id >= from_id)
        and within(fill.time_ms)
    ]
    limit = call.params.limit(500, 1000)
    is_newest = from_id is None and "startTime" not in call.params
    return [payloads.own_trade(fill) for fill in (fills[-limit:] if is_newest else fills[:limit])]


# the account


def account(call: Call) -> Json:
    return payloads.account_info(bank_of(call), call.account, list(call.exchange.markets.values()))


def api_restrictions(call: Call) -> Json:
    """A key's permissions, as the wallet's host tells them: one that trades futures only."""
    found = spot_payloads.api_restrictions(call.account)
    return {**found, "enableSpotAndMarginTrading": False, "enableFutures": call.account.permissions.can_trade}


def account_config(call: Call) -> Json:
    return payloads.account_config(call.account)


def balances(call: Call) -> list[Json]:
    bank, owner = bank_of(call), call.account
    return [payloads.balance(owner, asset, bank.figures(owner, asset)) for asset in sorted(owner.balances)]


def positions(call: Call) -> list[Json]:
    """Every contract, those without a position too."""
    symbol = call.params.optional_symbol()
    markets = [call.market_named(symbol)] if symbol else list(call.exchange.markets.values())
    return [payloads.position_risk(bank_of(call), call.account, market.instrument) for market in markets]


def open_positions(call: Call) -> list[Json]:
    """Only contracts with a position or an order."""
    busy = {order.symbol for order in call.account.open_orders.values()}
    return [row for row in positions(call) if Decimal(row["positionAmt"]) or row["symbol"] in busy]


def set_leverage(call: Call) -> Json:
    _require_trading(call)
    instrument = call.market().instrument
    leverage = call.params.integer("leverage")
    if leverage is None:
        raise shared.missing("leverage")
    if not 1 <= leverage <= MAX_LEVERAGE:
        raise errors.bad_leverage(leverage)
    try:
        bank_of(call).set_leverage(call.account, instrument.symbol, leverage, instrument.quote)
    except PositionTooLarge:
        raise errors.position_too_large() from None
    except LeverageInUse:
        raise errors.leverage_in_use() from None
    row = payloads.position_risk(bank_of(call), call.account, instrument)
    return {"leverage": leverage, "maxNotionalValue": row["maxNotionalValue"], "symbol": instrument.symbol}


def set_margin_type(call: Call) -> Json:
    _require_trading(call)
    symbol = call.market().instrument.symbol
    wanted = call.params.choice("marginType", _MarginType, shared.missing("marginType"))
    if wanted is None:
        raise shared.missing("marginType")
    margin = bank_of(call).margin_of(call.account)
    if (symbol in margin.isolated) == (wanted is _MarginType.ISOLATED):
        raise errors.no_margin_change()
    if call.account.open_on(symbol):
        raise errors.margin_change_with_orders()
    if margin.holdings[symbol].quantity:
        raise errors.margin_change_with_position()
    margin.isolated ^= {symbol}
    return {"code": 200, "msg": "success"}


def position_mode(_call: Call) -> Json:
    return {"dualSidePosition": False}


def leverage_brackets(call: Call) -> list[Json]:
    symbol = call.params.optional_symbol()
    names = [call.market_named(symbol).instrument.symbol] if symbol else list(call.exchange.markets)
    return [payloads.leverage_brackets(name) for name in names]


def commission_rate(call: Call) -> Json:
    fees = call.account.fees
    return {
        "symbol": call.market().instrument.symbol, "makerCommissionRate": number(fees.maker),
        "takerCommissionRate": number(fees.taker),
    }  # fmt: skip


def income(call: Call) -> list[Json]:
    symbol, kind = call.params.optional_symbol(), call.params.text("incomeType")
    within = _period(call)
    rows = [
        row
        for row in bank_of(call).margin_of(call.account).income
        if symbol in (None, row.symbol) and kind in (None, row.kind) and within(row.time_ms)
    ]
    limit = call.params.limit(100, 1000)
    return [payloads.income(row) for row in (rows[:limit] if "startTime" in call.params else rows[-limit:])]


def order_counts(call: Call) -> list[Json]:
    counts = call.order_limiter.counts(call.account.api_key, call.now_ms).values()
    limits = [info for info in call.limits_info() if info["rateLimitType"] == "ORDERS"]
    return [{**info, "count": count} for info, count in zip(limits, counts, strict=True)]


# reading an order request


def _checked_ticket(call: Call) -> tuple[Ticket, _Response]:
    market = call.market()
    ticket = read_ticket(call.params, call.params.matching("newClientOrderId", CLIENT_ID))
    invalid = shared.ApiError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    response = call.params.choice("newOrderRespType", _Response, invalid) or _Response.ACK
    _require_trading(call)
    filters.check(ticket, market.instrument, bank_of(call).mark(ticket.symbol))
    return ticket, response


def read_ticket(params: Params, client_id: str | None) -> Ticket:
    """An order's parameters. Raises ApiError."""
    side = params.choice("side", Side, shared.ApiError(-1117, "Invalid side."))
    kind = params.choice("type", _Kind, shared.ApiError(-1116, "Invalid orderType."))
    time_in_force = params.choice("timeInForce", _TimeInForce, shared.ApiError(-1115, "Invalid timeInForce."))
    if side is None or kind is None:
        raise shared.missing("side" if side is None else "type")
    for name in ("quantity",) if kind is _Kind.MARKET else ("timeInForce", "quantity", "price"):
        if name not in params:
            raise shared.missing(name)
    if kind is _Kind.MARKET and "price" in params:
        raise shared.not_required("price")
    if params.text("positionSide") not in (None, "BOTH"):
        raise errors.wrong_position_side()
    is_post_only = time_in_force is _TimeInForce.GTX
    return Ticket(
        symbol=params.symbol(),
        side=side,
        type=OrderType.LIMIT_MAKER if is_post_only else OrderType(kind),
        quantity=params.decimal("quantity") or Decimal(0),
        client_order_id=client_id or new_client_id(),
        price=params.decimal("price"),
        time_in_force=TimeInForce.GTC if is_post_only or time_in_force is None else TimeInForce(time_in_force),
        reduce_only=params.flag("reduceOnly"),
    )


def _require_trading(call: Call) -> None:
    if not call.account.permissions.can_trade:
        raise shared.bad_key()


# finding


def _find(call: Call, missing: shared.ApiError) -> Order:
    symbol = call.market().instrument.symbol
    order_id = call.params.integer("orderId")
    client_id = call.params.matching("origClientOrderId", CLIENT_ID)
    if order_id is None and client_id is None:
        raise shared.missing_either("origClientOrderId", "orderId")
    if order_id is None:
        order = call.account.latest_by_client_id.get((symbol, client_id or ""))
    else:
        order = call.account.orders.get(order_id)
    if order is None or order.symbol != symbol:
        raise missing
    return order


def _period(call: Call) -> Callable[[int], bool]:
    start, end = call.params.moment("startTime"), call.params.moment("endTime")
    if start is not None and end is not None and end - start > _WEEK_MS:
        raise shared.ApiError(-4165, "Invalid time interval: Maximum time interval is 7 days.")
    return lambda moment: (start is None or moment >= start) and (end is None or moment <= end)
