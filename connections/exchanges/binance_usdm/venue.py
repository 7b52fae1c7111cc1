"""Binance USD-M futures as a venue: what it can do and how to get at it."""

from connections.exchanges.api_file import modes_of
from connections.exchanges.binance.market_stream import BinanceMarketDialect
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_usdm.api import API
from connections.exchanges.binance_usdm.gateway import BinanceUsdmGateway
from connections.exchanges.binance_usdm.market_stream import usdm_market_dialects
from connections.exchanges.binance_usdm.public import public_usdm
from connections.exchanges.binance_usdm.user_stream import UsdmUserDialect
from connections.exchanges.contract import Capabilities
from connections.exchanges.network import Network
from connections.gateways import Credentials


class BinanceUsdm:
    """See connections.exchanges.contract.Venue."""

    slug = "binance_usdm"
    title = "Binance USD-M futures"
    timeframes = API.timeframes.all
    capabilities = Capabilities(
        post_only=True,
        reduce_only=True,
        positions=True,
        request_expiry=True,
        reusable_client_ids=True,
        accounts_per_user_socket=1,
        market_sockets=2,
        streams_per_market_socket=API.limits.streams_a_socket,
        numbers_trades=True,
        # 20 of 2400 weights a minute.
        polled_symbols=1,
    )

    @property
    def modes(self) -> tuple[str, ...]:
        return modes_of(API.bases)

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> BinanceUsdmGateway:
        return BinanceUsdmGateway(credentials, self.public(mode, network), API.base(mode).wallet)

    def public(self, mode: str, network: Network) -> BinancePublic:
        return network.shared((self.slug, mode), lambda: public_usdm(mode, network))

    async def market_dialects(self, mode: str, network: Network) -> tuple[BinanceMarketDialect, ...]:
        symbols = await self.public(mode, network).symbol_table()
        return usdm_market_dialects(API.base(mode).stream, symbols)

    async def user_dialect(self, mode: str, network: Network) -> UsdmUserDialect:
        public = self.public(mode, network)
        return UsdmUserDialect(API.base(mode).stream, public, await public.symbol_table())
