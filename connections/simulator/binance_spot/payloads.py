"""Binance spot's JSON shapes."""

from decimal import Decimal

from connections.simulator.accounts import Account, Fill
from connections.simulator.binance.market_payloads import Json, number
from connections.simulator.binance_spot import filters
from connections.simulator.exchange import Report
from connections.simulator.instruments import Instrument
from connections.simulator.matching import Order, OrderType

_ORDER_TYPES = [
    OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.MARKET, OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT,
    OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT,
]  # fmt: skip


# market data


def symbol_info(instrument: Instrument) -> Json:
    return {
        "symbol": instrument.symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _ORDER_TYPES,
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters.describe(instrument),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


# orders


def new_order_ack(order: Order) -> Json:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "transactTime": order.updated_ms,
    }


def new_order_result(order: Order) -> Json:
    answer = {**new_order_ack(order), **_order_state(order)}
    if order.working_ms >= 0:
        answer["workingTime"] = order.working_ms
    return {**answer, "selfTradePreventionMode": "NONE"}


def new_order_full(order: Order, fills: list[Fill]) -> Json:
    return {**new_order_result(order), "fills": [_order_fill(fill) for fill in fills]}


def cancelled_order(order: Order, cancel_id: str) -> Json:
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_order_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_ms,
        **_order_state(order),
        "selfTradePreventionMode": "NONE",
    }


def queried_order(order: Order) -> Json:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        **_order_state(order),
        "stopPrice": number(order.stop_price),
        "icebergQty": "0.00000000",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working_ms >= 0,
        "workingTime": order.working_ms,
        "selfTradePreventionMode": "NONE",
    }


def _order_state(order: Order) -> Json:
    state: Json = {
        "price": number(order.price),
        "origQty": number(order.quantity),
        "executedQty": number(order.executed),
        "origQuoteOrderQty": number(order.quote_quantity),
        "cummulativeQuoteQty": number(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        **order.labels,
    }
    if order.stop_price is not None:
        state["stopPrice"] = number(order.stop_price)
    if order.expiry_reason is not None:
        state["expiryReason"] = order.expiry_reason
    return state


def _order_fill(fill: Fill) -> Json:
    return {
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "commission": number(fill.commission),
        "commissionAsset": fill.commission_asset,
        "tradeId": fill.trade_id,
    }


def own_trade(fill: Fill) -> Json:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "quoteQty": number(fill.quote),
        "commission": number(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time_ms,
        "isBuyer": fill.is_buyer,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


# accounts


def account_info(account: Account, omit_zero: bool) -> Json:
    rates = account.fees
    permissions = account.permissions
    return {
        "makerCommission": int(rates.maker * 10_000),
        "takerCommission": int(rates.taker * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {**_rates(account), "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": permissions.can_trade,
        "canWithdraw": permissions.can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": account.updated_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": number(balance.free), "locked": number(balance.locked)}
            for asset, balance in sorted(account.balances.items())
            if balance.free or balance.locked or not omit_zero
        ],
        "permissions": ["SPOT"],
        "uid": account.uid,
    }


def _rates(account: Account) -> Json:
    return {"maker": number(account.fees.maker), "taker": number(account.fees.taker)}


def commission_rates(account: Account, symbol: str) -> Json:
    none = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}
    return {
        "symbol": symbol,
        "standardCommission": {**none, **_rates(account)},
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": "0.75000000",
        },
    }  # fmt: skip


def trade_fee(account: Account, symbol: str) -> Json:
    """One symbol's rates as the wallet's endpoint writes them, without trailing zeros."""
    maker, taker = (f"{rate.normalize():f}" for rate in (account.fees.maker, account.fees.taker))
    return {"symbol": symbol, "makerCommission": maker, "takerCommission": taker}


def test_commission(account: Account) -> Json:
    none = {"maker": "0.00000000", "taker": "0.00000000"}
    rates = commission_rates(account, "")
    return {
        "standardCommissionForOrder": _rates(account),
        "specialCommissionForOrder": none,
        "taxCommissionForOrder": none,
        "discount": rates["discount"],
    }


def api_restrictions(account: Account) -> Json:
    permissions = account.permissions
    return {
        "ipRestrict": permissions.ip_restricted,
        "createTime": account.created_ms,
        "enableReading": permissions.can_read,
        "enableSpotAndMarginTrading": permissions.can_trade,
        "enableWithdrawals": permissions.can_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    }


# user events


def execution_report(report: Report, event_ms: int) -> Json:
    order, fill = report.order, report.fill
    event: Json = {
        "e": "executionReport",
        "E": event_ms,
        "s": order.symbol,
        "c": report.cancel_id or order.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": number(order.quantity),
        "p": number(order.price),
        "P": number(order.stop_price),
        "F": "0.00000000",
        "g": -1,
        "C": order.client_order_id if report.cancel_id else "",
        "x": report.kind,
        "X": report.progress.status,
        "r": "NONE",
        "i": order.order_id,
        "l": number(fill.quantity if fill else None),
        "z": number(report.progress.executed),
        "L": number(fill.price if fill else None),
        "n": number(fill.commission) if fill else "0",
        "N": fill.commission_asset if fill else None,
        "T": report.time_ms,
        "t": fill.trade_id if fill else -1,
        "I": report.execution_id,
        "w": _is_on_book(report),
        "m": fill.is_maker if fill else False,
        "M": fill is not None,
        "O": order.created_ms,
        "Z": number(report.progress.quote_executed),
        "Y": number(fill.quote if fill else None),
        "Q": number(order.quote_quantity),
        "V": "NONE",
    }
    if order.working_ms >= 0:
        event["W"] = order.working_ms
    if report.kind == "EXPIRED":
        event["eR"] = order.expiry_reason
    if "strategyId" in order.labels:
        event["j"] = order.labels["strategyId"]
    if "strategyType" in order.labels:
        event["J"] = order.labels["strategyType"]
    return event


def _is_on_book(report: Report) -> bool:
    """A market order never rests; nor does one that waits for its trigger."""
    return report.progress.status.is_open and report.order.type.has_limit and report.order.working_ms >= 0


def account_position(account: Account, assets: list[str], event_ms: int) -> Json:
    balances = [
        {"a": asset, "f": number(account.balances[asset].free), "l": number(account.balances[asset].locked)}
        for asset in assets
    ]
    return {"e": "outboundAccountPosition", "E": event_ms, "u": account.updated_ms, "B": balances}


def balance_update(asset: str, amount: Decimal, event_ms: int) -> Json:
    return {"e": "balanceUpdate", "E": event_ms, "a": asset, "d": number(amount), "T": event_ms}
