"""A Binance spot account over REST."""

from decimal import Decimal

from connections.exchanges.assets_only import AssetsOnly
from connections.exchanges.binance.account_rest import Params
from connections.exchanges.binance.codec import Symbols
from connections.exchanges.binance.gateway import BinanceGateway, OrderWire
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_spot import codec
from connections.exchanges.binance_spot.api import API
from connections.gateways import (
    AccountSnapshot,
    Credentials,
    KeyPermissions,
    OrderRequest,
    OrderType,
    TimeInForce,
)
from desproject.lib.money import plain

_TYPES = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.POST_ONLY: "LIMIT_MAKER"}
_TIMES_IN_FORCE = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}


def _order_params(request: OrderRequest, symbols: Symbols) -> Params:
    params: Params = {
        "symbol": symbols.spelling(request.symbol),
        "side": request.side.upper(),
        "type": _TYPES[request.type],
        "quantity": plain(request.quantity),
        "newClientOrderId": request.client_order_id,
        "newOrderRespType": "FULL",
    }
    if request.type is not OrderType.MARKET:
        params["price"] = plain(request.price or Decimal(0))
    if request.type is OrderType.LIMIT:
        params["timeInForce"] = _TIMES_IN_FORCE[request.time_in_force]
    return params


_WIRE = OrderWire(
    order=API.paths.order,
    open_orders=API.paths.open_orders,
    fills=API.paths.my_trades,
    fills_page=API.limits.trades_page,
    fills_window_ms=API.limits.trades_window_ms,
    max_recv_window_ms=API.limits.max_recv_window_ms,
    timeframes=API.timeframes.all,
    order_params=_order_params,
    read_order=codec.read_order,
    read_orders=codec.read_orders,
    read_fills=codec.read_fills,
)


class BinanceSpotGateway(AssetsOnly, BinanceGateway):
    """See connections.gateways.Gateway."""

    def __init__(self, credentials: Credentials, public: BinancePublic) -> None:
        super().__init__(credentials, public, _WIRE)

    async def permissions(self) -> KeyPermissions:
        return codec.read_permissions(await self._rest.get(API.paths.restrictions, {}))

    async def account(self) -> AccountSnapshot:
        # Binance's updateTime is that of the last change, which may lie far back: the snapshot is as of when it was
        # asked for, so that it counts as newer than what the stream told before.
        asked_ms = await self._public.now_ms()
        return codec.read_account(await self._rest.get(API.paths.account, {"omitZeroBalances": "true"}), asked_ms)
