"""Binance USD-M futures as a venue: what it can do and how to get at it."""

from pathlib import Path

import msgspec

from connections.exchanges.api_file import load
from connections.exchanges.binance.api import check_binance
from connections.exchanges.binance.market_stream import MARKET_ROWS, BinanceMarketDialect
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_usdm.api import UsdmApi
from connections.exchanges.binance_usdm.codec import UsdmCodec
from connections.exchanges.binance_usdm.gateway import BinanceUsdmGateway, UsdmPublic
from connections.exchanges.binance_usdm.user_stream import USER_ROWS, UsdmUserDialect
from connections.exchanges.contract import Capabilities
from connections.exchanges.network import Network
from connections.exchanges.versioned import VersionedVenue
from connections.exchanges.versions import Versions
from connections.exchanges.wire import Symbols
from connections.gateways import Credentials

_SLUG = "binance_usdm"


def read_usdm(text: str) -> UsdmApi:
    """A file's text. Raises BadApiFile."""
    api = load(text, UsdmApi, {**UsdmCodec.rows, **MARKET_ROWS, **USER_ROWS})
    check_binance(api, msgspec.structs.asdict(api.streams.public) | msgspec.structs.asdict(api.streams.market))
    return api


def usdm_market_dialects(
    api: UsdmApi, base: str, symbols: Symbols
) -> tuple[BinanceMarketDialect, BinanceMarketDialect]:
    """The dialects of both addresses at ``base``: books and quotes on one, trades and candles on the other."""
    public, market = msgspec.structs.asdict(api.streams.public), msgspec.structs.asdict(api.streams.market)
    return (
        BinanceMarketDialect(base + api.paths.public_stream, api, public, symbols),
        BinanceMarketDialect(base + api.paths.market_stream, api, market, symbols),
    )


class BinanceUsdm(VersionedVenue[UsdmApi, UsdmPublic]):
    """See connections.exchanges.contract.Venue."""

    slug = _SLUG
    title = "Binance USD-M futures"

    def __init__(self) -> None:
        super().__init__(Versions(_SLUG, Path(__file__).parent, read_usdm))

    @property
    def capabilities(self) -> Capabilities:
        limits = self.versions.of("").limits
        return Capabilities(
            post_only=True,
            reduce_only=True,
            positions=True,
            request_expiry=True,
            reusable_client_ids=True,
            accounts_per_user_socket=1,
            market_sockets=2,
            streams_per_market_socket=limits.streams_a_socket,
            numbers_trades=True,
            polled_symbols=limits.polled_symbols,
        )

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> BinanceUsdmGateway:
        public = self.public(mode, network, credentials.connection)
        return BinanceUsdmGateway(credentials, public, public.api.base(mode).wallet)

    def make_public(self, api: UsdmApi, mode: str, network: Network) -> UsdmPublic:
        return BinancePublic(api, UsdmCodec(api), f"{self.slug}:{mode}", api.base(mode).rest, network)

    async def market_dialects(self, mode: str, network: Network) -> tuple[BinanceMarketDialect, ...]:
        public = self.public(mode, network)
        return usdm_market_dialects(public.api, public.api.base(mode).stream, await public.symbol_table())

    async def user_dialect(self, mode: str, network: Network) -> UsdmUserDialect:
        public = self.public(mode, network)
        return UsdmUserDialect(public, public.api.base(mode).stream, await public.symbol_table())
