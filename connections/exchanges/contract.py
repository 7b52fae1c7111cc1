"""What a venue offers to the rest of DES: gateways for accounts, public data, and the dialects of its streams.

Dialects are sans-I/O: they make and read frames, while connections/streaming holds the sockets.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from connections.events import MarketEvent
from connections.exchanges.network import Network
from connections.gateways import AssetBalance, Credentials, Gateway, GatewayError, OrderReport

Levels = tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a venue can do, for those who would otherwise have to try."""

    post_only: bool
    reduce_only: bool
    # A request can carry its own expiry: past it the exchange won't act.
    request_expiry: bool
    # A client order id may be used again once its order has ended.
    reusable_client_ids: bool
    # Accounts that one user data socket can carry.
    accounts_per_user_socket: int
    streams_per_market_socket: int


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """A whole order book as of ``last_id``: (price, size), best first."""

    last_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class DepthDelta:
    """Changed levels of a book, updates ``first_id`` to ``last_id``; size 0 removes the level."""

    symbol: str
    seen_ns: int
    first_id: int
    last_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused something we sent on the socket."""

    request_id: int | None
    reason: str
    error: GatewayError


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The server did what request ``request_id`` asked for."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The server says that it will close this socket soon: another one is to replace it."""


MarketFrame = MarketEvent | DepthDelta | Confirmed | Refused | Ending


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The account of request ``request_id`` is heard from now on as ``subscription``."""

    request_id: int
    subscription: int


@dataclass(frozen=True, slots=True)
class Terminated:
    """The server ended a subscription by itself, or has just confirmed our ending it."""

    subscription: int


@dataclass(frozen=True, slots=True)
class OrderNews:
    """The exchange reported an order of the subscription's account, with at most one fill."""

    subscription: int
    report: OrderReport


@dataclass(frozen=True, slots=True)
class BalanceNews:
    """The exchange reported some balances of the subscription's account, as of ``as_of_ms``."""

    subscription: int
    balances: tuple[AssetBalance, ...]
    as_of_ms: int


UserFrame = Subscribed | Confirmed | Terminated | OrderNews | BalanceNews | Refused | Ending


class MarketDialect(Protocol):
    """A venue's public stream: addresses, subscriptions, frames. Symbols are DES's (``BTC/USDT``)."""

    url: str
    # Messages that a client may send in one second, pongs not counted.
    messages_a_second: int
    # Seconds after which a socket must have been replaced.
    lifetime: float

    def streams(self, symbol: str, timeframes: Collection[str]) -> Collection[str]:
        """The venue's streams that carry quotes, trades, depth and candles of a symbol."""

    def subscribe(self, request_id: int, streams: Collection[str]) -> str:
        """The message that adds streams."""

    def unsubscribe(self, request_id: int, streams: Collection[str]) -> str:
        """The message that ends streams."""

    def read(self, frame: str | bytes, seen_ns: int) -> MarketFrame | None:
        """What a frame says; None for what DES has no use for. Raises UnexpectedShape."""


class UserDialect(Protocol):
    """A venue's user data on one socket for many accounts."""

    url: str
    lifetime: float
    accounts_per_socket: int

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        """The message by which an account is heard from; ``now_ms`` is the exchange's time."""

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        """The message that ends a subscription."""

    def read(self, frame: str | bytes) -> UserFrame | None:
        """What a frame says; None for what DES has no use for. Raises UnexpectedShape."""


class PublicApi(Protocol):
    """What a venue tells without a key. One object serves a whole process."""

    async def symbols(self) -> Mapping[str, object]:
        """Every traded symbol, by DES's name."""

    async def depth(self, symbol: str) -> DepthSnapshot:
        """The order book by REST. Raises GatewayError, InvalidInput."""

    async def now_ms(self) -> int:
        """The exchange's time, never ahead of it."""

    async def resync_clock(self) -> None:
        """Measures the exchange's clock again."""


class Venue(Protocol):
    """An exchange. A folder of this package with a ``VENUE`` that fits is found by its slug."""

    slug: str
    title: str
    timeframes: Sequence[str]
    capabilities: Capabilities

    @property
    def modes(self) -> Collection[str]:
        """The modes that can be used in this process; differs with the configuration."""

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> Gateway:
        """A gateway for one account. Raises InvalidInput for a mode that the venue doesn't have."""

    def public(self, mode: str, network: Network) -> PublicApi:
        """The venue's public data; one shared object a network and mode."""

    async def market_dialect(self, mode: str, network: Network) -> MarketDialect:
        """Reads the symbol table first: may raise GatewayError."""

    async def user_dialect(self, mode: str, network: Network) -> UserDialect:
        """Reads the symbol table first: may raise GatewayError."""
