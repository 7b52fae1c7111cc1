"""Every method of Binance spot that the simulator speaks: one row each, for REST and the WebSocket API."""

from connections.simulator.binance import market_api
from connections.simulator.binance.endpoint import Endpoint, Handler, Weight, by_symbol, weight_of
from connections.simulator.binance.params import Params
from connections.simulator.binance_spot import market_api as spot_market_api
from connections.simulator.binance_spot import trading_api

_SIGNED = ("timestamp", "recvWindow", "signature", "apiKey")
_ORDER = (
    "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId", "strategyId",
    "strategyType", "stopPrice", "trailingDelta", "icebergQty", "newOrderRespType", "selfTradePreventionMode",
)  # fmt: skip


def _open(handler: Handler, weight: int | Weight, *params: str) -> Endpoint:
    return Endpoint(handler, weight_of(weight), frozenset(params))


def _signed(handler: Handler, weight: int | Weight, *params: str, counts_orders: bool = False) -> Endpoint:
    return Endpoint(handler, weight_of(weight), frozenset(params + _SIGNED), True, counts_orders)


def _depth_weight(params: Params) -> int:
    limit = params.integer("limit", 100) or 100
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def _my_trades_weight(params: Params) -> int:
    return 5 if "orderId" in params else 20


_ASKED = ("symbol", "symbols", "symbolStatus")
REST: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/ping"): _open(market_api.ping, 1),
    ("GET", "/api/v3/time"): _open(market_api.server_time, 1),
    ("GET", "/api/v3/exchangeInfo"): _open(
        spot_market_api.exchange_info, 20, *_ASKED, "permissions", "showPermissionSets"
    ),
    ("GET", "/api/v3/depth"): _open(spot_market_api.depth, _depth_weight, "symbol", "limit", "symbolStatus"),
    ("GET", "/api/v3/trades"): _open(market_api.trades, 25, "symbol", "limit"),
    ("GET", "/api/v3/historicalTrades"): _open(market_api.trades, 25, "symbol", "limit", "fromId"),
    ("GET", "/api/v3/aggTrades"): _open(
        market_api.aggregate_trades, 4, "symbol", "fromId", "startTime", "endTime", "limit"
    ),
    ("GET", "/api/v3/klines"): _open(
        market_api.klines, 2, "symbol", "interval", "startTime", "endTime", "timeZone", "limit"
    ),
    ("GET", "/api/v3/uiKlines"): _open(
        market_api.klines, 2, "symbol", "interval", "startTime", "endTime", "timeZone", "limit"
    ),
    ("GET", "/api/v3/avgPrice"): _open(spot_market_api.average_price, 2, "symbol"),
    ("GET", "/api/v3/ticker/24hr"): _open(market_api.day_ticker, by_symbol(2, 80), *_ASKED, "type"),
    ("GET", "/api/v3/ticker/price"): _open(market_api.price_ticker, by_symbol(2, 4), *_ASKED),
    ("GET", "/api/v3/ticker/bookTicker"): _open(market_api.book_ticker, by_symbol(2, 4), *_ASKED),
    ("POST", "/api/v3/order"): _signed(trading_api.new_order, 1, *_ORDER, counts_orders=True),
    ("POST", "/api/v3/order/test"): _signed(trading_api.test_order, 1, *_ORDER, "computeCommissionRates"),
    ("GET", "/api/v3/order"): _signed(trading_api.query_order, 4, "symbol", "orderId", "origClientOrderId"),
    ("DELETE", "/api/v3/order"): _signed(
        trading_api.cancel_order, 1, "symbol", "orderId", "origClientOrderId", "newClientOrderId", "cancelRestrictions"
    ),
    ("GET", "/api/v3/openOrders"): _signed(trading_api.open_orders, by_symbol(6, 80), "symbol"),
    ("DELETE", "/api/v3/openOrders"): _signed(trading_api.cancel_open_orders, 1, "symbol"),
    ("GET", "/api/v3/allOrders"): _signed(
        trading_api.all_orders, 20, "symbol", "orderId", "startTime", "endTime", "limit"
    ),
    ("GET", "/api/v3/myTrades"): _signed(
        trading_api.my_trades, _my_trades_weight, "symbol", "orderId", "startTime", "endTime", "fromId", "limit"
    ),
    ("GET", "/api/v3/account"): _signed(trading_api.account, 20, "omitZeroBalances"),
    ("GET", "/api/v3/account/commission"): _signed(trading_api.commission, 20, "symbol"),
    ("GET", "/api/v3/rateLimit/order"): _signed(trading_api.order_counts, 40),
    ("GET", "/sapi/v1/system/status"): _open(spot_market_api.system_status, 1),
    ("GET", "/sapi/v1/account/apiRestrictions"): _signed(trading_api.api_restrictions, 1),
    ("GET", "/sapi/v1/asset/tradeFee"): _signed(trading_api.trade_fees, 1, "symbol"),
}
WS_METHODS: dict[str, Endpoint] = {
    "ping": REST["GET", "/api/v3/ping"],
    "time": REST["GET", "/api/v3/time"],
    "exchangeInfo": REST["GET", "/api/v3/exchangeInfo"],
    "depth": REST["GET", "/api/v3/depth"],
    "trades.recent": REST["GET", "/api/v3/trades"],
    "trades.aggregate": REST["GET", "/api/v3/aggTrades"],
    "klines": REST["GET", "/api/v3/klines"],
    "ticker.24hr": REST["GET", "/api/v3/ticker/24hr"],
    "ticker.price": REST["GET", "/api/v3/ticker/price"],
    "ticker.book": REST["GET", "/api/v3/ticker/bookTicker"],
    "order.place": REST["POST", "/api/v3/order"],
    "order.test": REST["POST", "/api/v3/order/test"],
    "order.status": REST["GET", "/api/v3/order"],
    "order.cancel": REST["DELETE", "/api/v3/order"],
    "openOrders.status": REST["GET", "/api/v3/openOrders"],
    "openOrders.cancelAll": REST["DELETE", "/api/v3/openOrders"],
    "allOrders": REST["GET", "/api/v3/allOrders"],
    "myTrades": REST["GET", "/api/v3/myTrades"],
    "account.status": REST["GET", "/api/v3/account"],
    "account.rateLimits.orders": REST["GET", "/api/v3/rateLimit/order"],
}
