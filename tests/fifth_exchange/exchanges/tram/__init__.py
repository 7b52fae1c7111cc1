"""Tram, an exchange that doesn't exist. Facts: api.toml and the modules beside it."""

from connections.exchanges.api_file import modes_of
from connections.exchanges.contract import Capabilities
from connections.exchanges.network import Network
from connections.gateways import Credentials

from .api import API
from .gateway import TramGateway
from .public import TramPublic
from .streams import TramMarketDialect, TramUserDialect


class Tram:
    """See connections.exchanges.contract.Venue."""

    slug = "tram"
    title = "Tram"
    timeframes = API.timeframes.all
    capabilities = Capabilities(
        post_only=True,
        reduce_only=False,
        request_expiry=False,
        reusable_client_ids=True,
        accounts_per_user_socket=1,
        streams_per_market_socket=API.limits.streams_a_socket,
    )

    @property
    def modes(self) -> tuple[str, ...]:
        return modes_of(API.bases)

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> TramGateway:
        return TramGateway(credentials, self.public(mode, network))

    def public(self, mode: str, network: Network) -> TramPublic:
        return network.shared((self.slug, mode), lambda: TramPublic(mode, network))

    async def market_dialects(self, mode: str, network: Network) -> tuple[TramMarketDialect]:
        symbols = await self.public(mode, network).symbol_table()
        return (TramMarketDialect(API.base(mode).sockets, symbols),)

    async def user_dialect(self, mode: str, network: Network) -> TramUserDialect:
        symbols = await self.public(mode, network).symbol_table()
        return TramUserDialect(API.base(mode).sockets, symbols)


VENUE = Tram()
