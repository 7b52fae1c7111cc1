"""A Binance USD-M account over REST: orders as on spot, and positions on margin."""

from collections.abc import Sequence
from datetime import datetime

from connections.exchanges.binance.account_rest import Params
from connections.exchanges.binance.gateway import BinanceGateway
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_usdm.api import UsdmApi
from connections.exchanges.binance_usdm.codec import UsdmCodec
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

_MARGIN_TYPES = {MarginType.CROSS: "CROSSED", MarginType.ISOLATED: "ISOLATED"}
_NO_NEED_TO_CHANGE = "-4046"
UsdmPublic = BinancePublic[UsdmApi, UsdmCodec]


class BinanceUsdmGateway(BinanceGateway[UsdmApi, UsdmCodec]):
    """See connections.gateways.Gateway. ``wallet`` is the host that knows what a key may do; empty on the testnet."""

    def __init__(self, credentials: Credentials, public: UsdmPublic, wallet: str) -> None:
        super().__init__(credentials, public)
        self._wallet = wallet

    def order_words(self, request: OrderRequest) -> Params:
        # A market order is answered when it has ended.
        words: Params = {
            "type": "MARKET" if request.type is OrderType.MARKET else "LIMIT", "newOrderRespType": "RESULT",
        }  # fmt: skip
        if request.type is not OrderType.MARKET:
            is_post_only = request.type is OrderType.POST_ONLY
            words["timeInForce"] = "GTX" if is_post_only else request.time_in_force.upper()
        if request.reduce_only:
            words["reduceOnly"] = "true"
        return words

    async def permissions(self) -> KeyPermissions:
        if not self._wallet:
            return self._codec.testnet_permissions(await self._rest.get(self._api.paths.account_config, {}))
        return self._codec.permissions(await self._rest.get(self._api.paths.restrictions, {}, base=self._wallet))

    async def account(self) -> AccountSnapshot:
        return await self._account({})

    async def positions(self) -> Sequence[AccountPosition]:
        symbols = await self._public.symbol_table()
        return self._codec.positions(await self._rest.get(self._api.paths.positions, {}), symbols)

    async def margin_settings(self, symbol: str) -> MarginSettings:
        params: Params = {"symbol": (await self._public.symbol_table()).spelling(symbol)}
        return self._codec.margin_settings(await self._rest.get(self._api.paths.positions, params))

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        params: Params = {"symbol": (await self._public.symbol_table()).spelling(symbol), "leverage": leverage}
        return self._codec.leverage(await self._rest.change("POST", self._api.paths.leverage, params))

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        spelling = (await self._public.symbol_table()).spelling(symbol)
        params: Params = {"symbol": spelling, "marginType": _MARGIN_TYPES[margin_type]}
        try:
            await self._rest.change("POST", self._api.paths.margin_type, params)
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
                "limit": self._api.limits.income_page,
            }  # fmt: skip
            page = self._codec.funding(await self._rest.get(self._api.paths.income, params), symbols)
            found += page
            if len(page) < self._api.limits.income_page:
                return found
            start = to_millis(page[-1].paid_at) + 1
