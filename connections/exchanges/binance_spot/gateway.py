"""A Binance spot account over REST."""

from connections.exchanges.assets_only import AssetsOnly
from connections.exchanges.binance.account_rest import Params
from connections.exchanges.binance.gateway import BinanceGateway
from connections.exchanges.binance_spot.api import SpotApi
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.gateways import AccountSnapshot, KeyPermissions, OrderRequest, OrderType

_TYPES = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.POST_ONLY: "LIMIT_MAKER"}


class BinanceSpotGateway(AssetsOnly, BinanceGateway[SpotApi, SpotCodec]):
    """See connections.gateways.Gateway."""

    def order_words(self, request: OrderRequest) -> Params:
        words: Params = {"type": _TYPES[request.type], "newOrderRespType": "FULL"}
        if request.type is OrderType.LIMIT:
            words["timeInForce"] = request.time_in_force.upper()
        return words

    async def permissions(self) -> KeyPermissions:
        return self._codec.permissions(await self._rest.get(self._api.paths.restrictions, {}))

    async def account(self) -> AccountSnapshot:
        return await self._account({"omitZeroBalances": "true"})
