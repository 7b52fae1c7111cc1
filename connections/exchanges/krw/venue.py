"""A won exchange as a venue; what tells one from the other is its api.toml and whether requests carry the time."""

from pathlib import Path

from connections.exchanges.api_file import load
from connections.exchanges.contract import Capabilities
from connections.exchanges.krw.api import KrwApi, check_krw
from connections.exchanges.krw.codec import CODEC_ROWS
from connections.exchanges.krw.gateway import KrwGateway
from connections.exchanges.krw.market_stream import MARKET_ROWS, KrwMarketDialect
from connections.exchanges.krw.public import KrwPublic
from connections.exchanges.krw.user_stream import USER_ROWS, KrwUserDialect
from connections.exchanges.network import Network
from connections.exchanges.versioned import VersionedVenue
from connections.exchanges.versions import Versions
from connections.gateways import Credentials


def read_krw(text: str) -> KrwApi:
    """A file's text. Raises BadApiFile."""
    api = load(text, KrwApi, {**CODEC_ROWS, **MARKET_ROWS, **USER_ROWS})
    check_krw(api)
    return api


class KrwVenue(VersionedVenue[KrwApi, KrwPublic]):
    """See connections.exchanges.contract.Venue. ``folder`` holds its api.toml."""

    def __init__(self, slug: str, title: str, folder: Path, *, stamps_requests: bool) -> None:
        super().__init__(Versions(slug, folder, read_krw))
        self.slug = slug
        self.title = title
        self._stamps_requests = stamps_requests

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            post_only=True,
            reduce_only=False,
            # What was sent in time may still arrive late: a look-up has the last word.
            request_expiry=False,
            # An identifier is used up even by an order that was refused.
            reusable_client_ids=False,
            accounts_per_user_socket=1,
            streams_per_market_socket=self.versions.of("").limits.streams_a_socket,
            # One of Upbit's ten requests a second each.
            polled_symbols=5,
        )

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> KrwGateway:
        public = self.public(mode, network, credentials.connection)
        return KrwGateway(credentials, public, stamps_requests=self._stamps_requests)

    def make_public(self, api: KrwApi, mode: str, network: Network) -> KrwPublic:
        return KrwPublic(self.slug, api, mode, network)

    async def market_dialects(self, mode: str, network: Network) -> tuple[KrwMarketDialect]:
        public = self.public(mode, network)
        return (KrwMarketDialect(public.api, public.api.base(mode).sockets, await public.symbol_table()),)

    async def user_dialect(self, mode: str, network: Network) -> KrwUserDialect:
        public = self.public(mode, network)
        symbols, base = await public.symbol_table(), public.api.base(mode).sockets
        return KrwUserDialect(public.api, base, symbols, stamps_requests=self._stamps_requests)
