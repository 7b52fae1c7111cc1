"""A Binance USD-M account over REST: orders as on spot, and positions on margin."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from connections.exchanges.binance.account_rest import Params
from connections.exchanges.binance.codec import Symbols
from connections.exchanges.binance.gateway import BinanceGateway, OrderWire
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_usdm import codec
from connections.exchanges.binance_usdm.api import API
from connections.gateways import (
    AccountPosition,
    AccountSnapshot,
    Credentials,
    FundingPayment,
    KeyPermissions,
    MarginSettings,
    MarginType,
    OrderRejected,
    OrderRequest,
    OrderType,
)
from desproject.lib.clock import to_millis
from desproject.lib.money import plain

_MARGIN_TYPES = {MarginType.CROSS: "CROSSED", MarginType.ISOLATED: "ISOLATED"}
_NO_NEED_TO_CHANGE = "-4046"


def _order_params(request: OrderRequest, symbols: Symbols) -> Params:
    params: Params = {
        "symbol": symbols.spelling(request.symbol),
        "side": request.side.upper(),
        "type": "MARKET" if request.type is OrderType.MARKET else "LIMIT",
        "quantity": plain(request.quantity),
        "newClientOrderId": request.client_order_id,
        # A market order is answered when it has ended.
        "newOrderRespType": "RESULT",
    }
    if request.type is not OrderType.MARKET:
        params["price"] = plain(request.price or Decimal(0))
        is_post_only = request.type is OrderType.POST_ONLY
        params["timeInForce"] = "GTX" if is_post_only else request.time_in_force.upper()
    if request.reduce_only:
        params["reduceOnly"] = "true"
    return params


_WIRE = OrderWire(
    order=API.paths.order,
    open_orders=API.paths.open_orders,
    fills=API.paths.user_trades,
    fills_page=API.limits.trades_page,
    fills_window_ms=API.limits.trades_window_ms,
    max_recv_window_ms=API.limits.max_recv_window_ms,
    timeframes=API.timeframes.all,
    order_params=_order_params,
    read_order=codec.read_order,
    read_orders=codec.read_orders,
    read_fills=codec.read_fills,
)


class BinanceUsdmGateway(BinanceGateway):
    """See connections.gateways.Gateway. ``wallet`` is the host that knows what a key may do; empty on the testnet."""

    def __init__(self, credentials: Credentials, public: BinancePublic, wallet: str) -> None:
        super().__init__(credentials, public, _WIRE)
        self._wallet = wallet

    async def permissions(self) -> KeyPermissions:
        if not self._wallet:
            return codec.read_testnet_permissions(await self._rest.get(API.paths.account_config, {}))
        return codec.read_permissions(await self._rest.get(API.paths.restrictions, {}, base=self._wallet))

    async def account(self) -> AccountSnapshot:
        # As of when it was asked for, so that it counts as newer than what the stream told before.
        asked_ms = await self._public.now_ms()
        return codec.read_account(await self._rest.get(API.paths.account, {}), asked_ms)

    async def positions(self) -> Sequence[AccountPosition]:
        symbols = await self._public.symbol_table()
        return codec.read_positions(await self._rest.get(API.paths.positions, {}), symbols)

    async def margin_settings(self, symbol: str) -> MarginSettings:
        params: Params = {"symbol": (await self._public.symbol_table()).spelling(symbol)}
        return codec.read_margin_settings(await self._rest.get(API.paths.positions, params))

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        params: Params = {"symbol": (await self._public.symbol_table()).spelling(symbol), "leverage": leverage}
        return codec.read_leverage(await self._rest.change("POST", API.paths.leverage, params))

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        spelling = (await self._public.symbol_table()).spelling(symbol)
        params: Params = {"symbol": spelling, "marginType": _MARGIN_TYPES[margin_type]}
        try:
            await self._rest.change("POST", API.paths.margin_type, params)
        except OrderRejected as error:
            if error.exchange_code != _NO_NEED_TO_CHANGE:
                raise

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Paged by time: two payments of one symbol never share a moment."""
        symbols = await self._public.symbol_table()
        start, found = to_millis(since), list[FundingPayment]()
        while True:
            params: Params = {
                "symbol": symbols.spelling(symbol), "incomeType": "FUNDING_FEE", "startTime": start,
                "limit": API.limits.income_page,
            }  # fmt: skip
            page = codec.read_funding(await self._rest.get(API.paths.income, params), symbols)
            found += page
            if len(page) < API.limits.income_page:
                return found
            start = to_millis(page[-1].paid_at) + 1
