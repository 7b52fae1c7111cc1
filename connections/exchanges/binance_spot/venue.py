"""Binance spot as a venue: what it can do and how to get at it."""

from django.conf import settings

from connections.exchanges.binance_spot.api import API, SIMULATOR
from connections.exchanges.binance_spot.gateway import BinanceSpotGateway
from connections.exchanges.binance_spot.market_stream import SpotMarketDialect
from connections.exchanges.binance_spot.public import PublicSpot
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
    )

    @property
    def modes(self) -> tuple[str, ...]:
        """The simulator only where its address is set."""
        return (*API.bases, SIMULATOR) if settings.CONFIG.simulator_url else tuple(API.bases)

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> BinanceSpotGateway:
        return BinanceSpotGateway(credentials, self.public(mode, network))

    def public(self, mode: str, network: Network) -> PublicSpot:
        return network.shared((self.slug, mode), lambda: PublicSpot(mode, network))

    async def market_dialect(self, mode: str, network: Network) -> SpotMarketDialect:
        symbols = await self.public(mode, network).symbol_table()
        return SpotMarketDialect(API.base(mode).stream, symbols)

    async def user_dialect(self, mode: str, network: Network) -> SpotUserDialect:
        symbols = await self.public(mode, network).symbol_table()
        return SpotUserDialect(API.base(mode).ws_api, symbols)
