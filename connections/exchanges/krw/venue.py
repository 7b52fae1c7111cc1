"""A won exchange as a venue; what tells one from the other is its api.toml and whether requests carry the time."""

from collections.abc import Sequence

from connections.exchanges.api_file import modes_of
from connections.exchanges.contract import Capabilities
from connections.exchanges.krw.api import KrwApi
from connections.exchanges.krw.gateway import KrwGateway
from connections.exchanges.krw.market_stream import KrwMarketDialect
from connections.exchanges.krw.public import KrwPublic
from connections.exchanges.krw.user_stream import KrwUserDialect
from connections.exchanges.network import Network
from connections.gateways import Credentials


class KrwVenue:
    """See connections.exchanges.contract.Venue."""

    def __init__(self, slug: str, title: str, api: KrwApi, *, stamps_requests: bool) -> None:
        self.slug = slug
        self.title = title
        self.timeframes: Sequence[str] = api.timeframes.all
        self.capabilities = Capabilities(
            post_only=True,
            reduce_only=False,
            # What was sent in time may still arrive late: a look-up has the last word.
            request_expiry=False,
            # An identifier is used up even by an order that was refused.
            reusable_client_ids=False,
            accounts_per_user_socket=1,
            streams_per_market_socket=api.limits.streams_a_socket,
            # One of Upbit's ten requests a second each.
            polled_symbols=5,
        )
        self._api = api
        self._stamps_requests = stamps_requests

    @property
    def modes(self) -> tuple[str, ...]:
        return modes_of(self._api.bases)

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> KrwGateway:
        return KrwGateway(credentials, self.public(mode, network), stamps_requests=self._stamps_requests)

    def public(self, mode: str, network: Network) -> KrwPublic:
        return network.shared((self.slug, mode), lambda: KrwPublic(self.slug, self._api, mode, network))

    async def market_dialects(self, mode: str, network: Network) -> tuple[KrwMarketDialect]:
        symbols = await self.public(mode, network).symbol_table()
        return (KrwMarketDialect(self._api, self._api.base(mode).sockets, symbols),)

    async def user_dialect(self, mode: str, network: Network) -> KrwUserDialect:
        symbols = await self.public(mode, network).symbol_table()
        base = self._api.base(mode).sockets
        return KrwUserDialect(self._api, base, symbols, stamps_requests=self._stamps_requests)
