"""Binance spot as a venue: what it can do and how to get at it."""

from connections.exchanges.api_file import modes_of
from connections.exchanges.binance.market_stream import BinanceMarketDialect
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.gateway import BinanceSpotGateway
from connections.exchanges.binance_spot.market_stream import spot_market_dialect
from connections.exchanges.binance_spot.public import public_spot
from connections.exchanges.binance_spot.user_stream import SpotUserDialect
from connections.exchanges.contract import Capabilities
from connections.exchanges.network import Network
from connections.gateways import Credentials


class BinanceSpot:
    """See connections.exchanges.contract.Venue."""

    slug = "binance_spot"
    title = "Binance spot"
    timeframes = API.timeframes.all
    capabilities = Capabilities(
        post_only=True,
        reduce_only=False,
        request_expiry=True,
        reusable_client_ids=True,
        accounts_per_user_socket=API.limits.accounts_a_socket,
        streams_per_market_socket=API.limits.streams_a_socket,
        numbers_trades=True,
        # 25 of 6000 weights a minute each.
        polled_symbols=2,
    )

    @property
    def modes(self) -> tuple[str, ...]:
        return modes_of(API.bases)

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> BinanceSpotGateway:
        return BinanceSpotGateway(credentials, self.public(mode, network))

    def public(self, mode: str, network: Network) -> BinancePublic:
        return network.shared((self.slug, mode), lambda: public_spot(mode, network))

    async def market_dialects(self, mode: str, network: Network) -> tuple[BinanceMarketDialect, ...]:
        symbols = await self.public(mode, network).symbol_table()
        return (spot_market_dialect(API.base(mode).stream, symbols),)

    async def user_dialect(self, mode: str, network: Network) -> SpotUserDialect:
        symbols = await self.public(mode, network).symbol_table()
        return SpotUserDialect(API.base(mode).ws_api, symbols)
