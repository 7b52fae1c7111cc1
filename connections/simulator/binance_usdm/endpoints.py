"""Every method of Binance USD-M that the simulator speaks: one row each.

What a method doesn't read is ignored; whether the real one refuses it, its documents don't say.
"""

from collections.abc import Callable

from connections.simulator.binance import market_api as shared_market
from connections.simulator.binance.call import Call
from connections.simulator.binance.endpoint import Endpoint, Handler, Weight, by_symbol, weight_of
from connections.simulator.binance.market_payloads import Json
from connections.simulator.binance.params import Params
from connections.simulator.binance_usdm import errors, market_api, trading_api
from connections.simulator.binance_usdm.algo_orders import AlgoOrders
from connections.simulator.binance_usdm.user_events import UserEvents

_Table = dict[tuple[str, str], Endpoint]


def _open(handler: Handler, weight: int | Weight = 1) -> Endpoint:
    return Endpoint(handler, weight_of(weight))


def _signed(handler: Handler, weight: int | Weight = 1, *, counts_orders: bool = False) -> Endpoint:
    return Endpoint(handler, weight_of(weight), signed=True, counts_orders=counts_orders)


def _depth_weight(params: Params) -> int:
    limit = params.integer("limit", 500) or 500
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def _klines_weight(params: Params) -> int:
    limit = params.integer("limit", 500) or 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


_OPEN: _Table = {
    ("GET", "/fapi/v1/ping"): _open(shared_market.ping),
    ("GET", "/fapi/v1/time"): _open(shared_market.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): _open(market_api.exchange_info),
    ("GET", "/fapi/v1/depth"): _open(market_api.depth, _depth_weight),
    ("GET", "/fapi/v1/trades"): _open(shared_market.trades, 5),
    ("GET", "/fapi/v1/aggTrades"): _open(shared_market.aggregate_trades, 20),
    ("GET", "/fapi/v1/klines"): _open(shared_market.klines, _klines_weight),
    ("GET", "/fapi/v1/premiumIndex"): _open(market_api.premium_index, by_symbol(1, 10)),
    ("GET", "/fapi/v1/ticker/24hr"): _open(shared_market.day_ticker, by_symbol(1, 40)),
    ("GET", "/fapi/v1/ticker/price"): _open(shared_market.price_ticker, by_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): _open(shared_market.price_ticker, by_symbol(1, 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): _open(shared_market.book_ticker, by_symbol(2, 5)),
}
RESTRICTIONS = "/sapi/v1/account/apiRestrictions"
_SIGNED: _Table = {
    ("GET", RESTRICTIONS): _signed(trading_api.api_restrictions),
    ("POST", "/fapi/v1/order"): _signed(trading_api.new_order, 0, counts_orders=True),
    ("POST", "/fapi/v1/order/test"): _signed(trading_api.test_order, 0),
    ("GET", "/fapi/v1/order"): _signed(trading_api.query_order),
    ("DELETE", "/fapi/v1/order"): _signed(trading_api.cancel_order),
    ("GET", "/fapi/v1/openOrder"): _signed(trading_api.open_order),
    ("GET", "/fapi/v1/openOrders"): _signed(trading_api.open_orders, by_symbol(1, 40)),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(trading_api.cancel_open_orders),
    ("GET", "/fapi/v1/allOrders"): _signed(trading_api.all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): _signed(trading_api.user_trades, 5),
    ("GET", "/fapi/v2/account"): _signed(trading_api.account, 5),
    ("GET", "/fapi/v3/account"): _signed(trading_api.account, 5),
    ("GET", "/fapi/v1/accountConfig"): _signed(trading_api.account_config, 5),
    ("GET", "/fapi/v2/balance"): _signed(trading_api.balances, 5),
    ("GET", "/fapi/v3/balance"): _signed(trading_api.balances, 5),
    ("GET", "/fapi/v2/positionRisk"): _signed(trading_api.positions, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(trading_api.open_positions, 5),
    ("POST", "/fapi/v1/marginType"): _signed(trading_api.set_margin_type),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(trading_api.position_mode, 30),
    ("GET", "/fapi/v1/leverageBracket"): _signed(trading_api.leverage_brackets),
    ("GET", "/fapi/v1/commissionRate"): _signed(trading_api.commission_rate, 20),
    ("GET", "/fapi/v1/income"): _signed(trading_api.income, 30),
    ("GET", "/fapi/v1/rateLimit/order"): _signed(trading_api.order_counts),
}


def table(events: UserEvents, algo: AlgoOrders) -> _Table:
    """All methods; those of listen keys, and what listeners hear of, work on `events`, conditional orders on `algo`."""
    return {
        **_OPEN,
        **_SIGNED,
        ("POST", "/fapi/v1/algoOrder"): _signed(algo.new, 0),
        ("GET", "/fapi/v1/algoOrder"): _signed(algo.query),
        ("DELETE", "/fapi/v1/algoOrder"): _signed(algo.cancel),
        ("GET", "/fapi/v1/openAlgoOrders"): _signed(algo.open, by_symbol(1, 40)),
        ("POST", "/fapi/v1/leverage"): _signed(_telling_leverage(events)),
        ("POST", "/fapi/v1/listenKey"): _keyed(lambda call: events.keys.open(call.account.api_key, call.now_ms)),
        ("PUT", "/fapi/v1/listenKey"): _keyed(lambda call: events.keys.extend(call.account.api_key, call.now_ms)),
        ("DELETE", "/fapi/v1/listenKey"): _keyed(lambda call: events.keys.close(call.account.api_key), tells=False),
    }


def _keyed(act: Callable[[Call], str | None], *, tells: bool = True) -> Endpoint:
    def handler(call: Call) -> Json:
        key = act(call)
        if key is None:
            raise errors.no_listen_key()
        return {"listenKey": key} if tells else {}

    return Endpoint(handler, weight_of(1), keyed=True)


def _telling_leverage(events: UserEvents) -> Handler:
    def handler(call: Call) -> Json:
        answer = trading_api.set_leverage(call)
        events.leverage_set(call.account.api_key, answer["symbol"], answer["leverage"])
        return answer

    return handler
