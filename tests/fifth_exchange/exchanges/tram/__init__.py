"""Tram, an exchange that doesn't exist. Facts: api.toml and the modules beside it."""

from pathlib import Path

from connections.exchanges.api_file import load
from connections.exchanges.contract import Capabilities
from connections.exchanges.network import Network
from connections.exchanges.versioned import VersionedVenue
from connections.exchanges.versions import Versions
from connections.gateways import Credentials

from .api import TramApi
from .codec import RECORDS
from .gateway import TramGateway
from .public import TramPublic
from .streams import TramMarketDialect, TramUserDialect

_SLUG = "tram"


def read_tram(text: str) -> TramApi:
    """A file's text. Raises BadApiFile."""
    return load(text, TramApi, RECORDS)


class Tram(VersionedVenue[TramApi, TramPublic]):
    """See connections.exchanges.contract.Venue."""

    slug = _SLUG
    title = "Tram"

    def __init__(self) -> None:
        super().__init__(Versions(_SLUG, Path(__file__).parent, read_tram))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            post_only=True,
            reduce_only=False,
            request_expiry=False,
            reusable_client_ids=True,
            accounts_per_user_socket=1,
            streams_per_market_socket=self.versions.of("").limits.streams_a_socket,
        )

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> TramGateway:
        return TramGateway(credentials, self.public(mode, network, credentials.connection))

    def make_public(self, api: TramApi, mode: str, network: Network) -> TramPublic:
        return TramPublic(api, mode, network)

    async def market_dialects(self, mode: str, network: Network) -> tuple[TramMarketDialect]:
        public = self.public(mode, network)
        return (TramMarketDialect(public.api, public.api.base(mode).sockets, await public.symbol_table()),)

    async def user_dialect(self, mode: str, network: Network) -> TramUserDialect:
        public = self.public(mode, network)
        return TramUserDialect(public, public.api.base(mode).sockets, await public.symbol_table())


VENUE = Tram()
