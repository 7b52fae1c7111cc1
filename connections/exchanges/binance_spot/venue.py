"""Binance spot as a venue: what it can do and how to get at it."""

from pathlib import Path

import msgspec

from connections.exchanges.api_file import load
from connections.exchanges.binance.api import check_binance
from connections.exchanges.binance.market_stream import MARKET_ROWS, BinanceMarketDialect
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_spot.api import SpotApi
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.exchanges.binance_spot.gateway import BinanceSpotGateway
from connections.exchanges.binance_spot.user_stream import USER_ROWS, SpotUserDialect
from connections.exchanges.contract import Capabilities
from connections.exchanges.network import Network
from connections.exchanges.versioned import VersionedVenue
from connections.exchanges.versions import Versions
from connections.exchanges.wire import Symbols
from connections.gateways import Credentials

_SLUG = "binance_spot"


def read_spot(text: str) -> SpotApi:
    """A file's text. Raises BadApiFile."""
    api = load(text, SpotApi, {**SpotCodec.rows, **MARKET_ROWS, **USER_ROWS})
    check_binance(api, msgspec.structs.asdict(api.streams))
    return api


def spot_market_dialect(api: SpotApi, base: str, symbols: Symbols) -> BinanceMarketDialect:
    """The dialect of the combined stream at ``base``, which carries everything."""
    return BinanceMarketDialect(base + api.paths.stream, api, msgspec.structs.asdict(api.streams), symbols)


class BinanceSpot(VersionedVenue[SpotApi, BinancePublic[SpotApi, SpotCodec]]):
    """See connections.exchanges.contract.Venue."""

    slug = _SLUG
    title = "Binance spot"

    def __init__(self) -> None:
        super().__init__(Versions(_SLUG, Path(__file__).parent, read_spot))

    @property
    def capabilities(self) -> Capabilities:
        limits = self.versions.of("").limits
        return Capabilities(
            post_only=True,
            reduce_only=False,
            request_expiry=True,
            reusable_client_ids=True,
            accounts_per_user_socket=limits.accounts_a_socket,
            streams_per_market_socket=limits.streams_a_socket,
            numbers_trades=True,
            polled_symbols=limits.polled_symbols,
        )

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> BinanceSpotGateway:
        return BinanceSpotGateway(credentials, self.public(mode, network, credentials.connection))

    def make_public(self, api: SpotApi, mode: str, network: Network) -> BinancePublic[SpotApi, SpotCodec]:
        return BinancePublic(api, SpotCodec(api), f"{self.slug}:{mode}", api.base(mode).rest, network)

    async def market_dialects(self, mode: str, network: Network) -> tuple[BinanceMarketDialect, ...]:
        public = self.public(mode, network)
        return (spot_market_dialect(public.api, public.api.base(mode).stream, await public.symbol_table()),)

    async def user_dialect(self, mode: str, network: Network) -> SpotUserDialect:
        public = self.public(mode, network)
        return SpotUserDialect(public.api, public.codec, public.api.base(mode).ws_api, await public.symbol_table())
