"""What a venue offers to the rest of DES: gateways for accounts, public data, and the dialects of its streams.

Dialects are sans-I/O: they make and read frames, while connections/streaming holds the sockets.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from connections.events import MarketEvent, PublicTrade, Quote
from connections.exchanges.network import Network
from connections.exchanges.versions import Versions
from connections.gateways import AssetBalance, Candle, Credentials, Gateway, GatewayError, OrderReport

Levels = tuple[tuple[Decimal, Decimal], ...]
# The same as a stream tells them, some hundred thousand a second: as text where the venue sends text, and then only a
# book looks whether they are numbers.
ToldLevels = tuple[tuple[Decimal | str, Decimal | str], ...]
# The subscription of the account that has a socket to itself.
ONLY = 0


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
    # Orders move positions, long or short, that are held on margin; else they exchange one asset for another.
    positions: bool = False
    # Addresses over which the public data of a feed are spread.
    market_sockets: int = 1
    # Each public trade of a symbol has the number after the one before: a loss shows.
    numbers_trades: bool = False
    # Of so many symbols the trades may be asked for each second while there is no stream: half of the budget.
    polled_symbols: int = 1


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """A whole order book as of ``last_id``: (price, size), best first."""

    last_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class DepthDelta:
    """Changed levels of a book, updates ``first_id`` to ``last_id``; size 0 removes the level.

    ``previous_id`` ends the delta before this one, where the venue says so: its numbers may have holes.
    """

    symbol: str
    seen_ns: int
    first_id: int
    last_id: int
    bids: ToldLevels
    asks: ToldLevels
    previous_id: int | None = None

    @property
    def follows(self) -> int:
        """The update that must be known before this delta."""
        return self.first_id - 1 if self.previous_id is None else self.previous_id


@dataclass(frozen=True, slots=True)
class WholeDepth:
    """A whole order book, as venues without deltas send it with every change: (price, size), best first.

    ``as_of_ms`` is the exchange's time; there is no number that would show a loss.
    """

    symbol: str
    seen_ns: int
    as_of_ms: int
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
class Alive:
    """The server answered a dialect's ``probe``: it has read, and not refused, what was sent before."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The server says that it will close this socket soon: another one is to replace it."""


MarketFrame = MarketEvent | DepthDelta | WholeDepth | Confirmed | Alive | Refused | Ending


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


UserFrame = Subscribed | Confirmed | Alive | Terminated | OrderNews | BalanceNews | Refused | Ending


class MarketDialect(Protocol):
    """A venue's public stream: addresses, subscriptions, frames. Symbols are DES's (``BTC/USDT``)."""

    url: str
    # Messages that a client may send in one second, pongs not counted.
    messages_a_second: int
    # Seconds after which a socket must have been replaced.
    lifetime: float
    # Sent after a subscription where the venue confirms none: answered by Alive. Empty where it does.
    probe: str
    # A subscription replaces the one before: it states every stream that is wanted. Else it adds to them.
    states_all: bool
    # Books come whole, as WholeDepth; else as DepthDelta.
    whole_books: bool

    def streams(self, symbol: str, timeframes: Collection[str]) -> Collection[str]:
        """The streams at this address that carry quotes, trades, depth and candles of a symbol."""

    def subscribe(self, request_id: int, streams: Collection[str]) -> str:
        """The message that adds streams."""

    def unsubscribe(self, request_id: int, streams: Collection[str]) -> str:
        """The message that ends streams."""

    def read(self, frame: str | bytes, seen_ns: int) -> MarketFrame | None:
        """What a frame says; None for what DES has no use for. Raises UnexpectedShape."""


class UserDialect(Protocol):
    """A venue's user data: on one socket for many accounts, or with a socket for each (``accounts_per_socket`` 1).

    With one account a socket, its subscription is number ONLY.
    """

    url: str
    lifetime: float
    accounts_per_socket: int
    # As in MarketDialect.
    probe: str

    def handshake(self, credentials: Credentials, now_ms: int) -> Mapping[str, str]:
        """The headers that open an account's own socket; none where accounts sign on by message."""

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        """The message by which an account is heard from; ``now_ms`` is the exchange's time. Empty where the socket
        is the account's without a word."""

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        """The message that ends a subscription."""

    def read(self, frame: str | bytes) -> UserFrame | None:
        """What a frame says; None for what DES has no use for. Raises UnexpectedShape."""


@runtime_checkable
class AddressedUserDialect(UserDialect, Protocol):
    """User data where the exchange gives each account an address of its own, instead of ``url``."""

    # The address ends unless the exchange hears of it so often.
    keep_alive_seconds: float

    async def address(self, credentials: Credentials) -> str:
        """The account's address; it lets in whoever knows it. Raises GatewayError."""

    async def keep_alive(self, credentials: Credentials) -> None:
        """Lets the account's address live on. Raises GatewayError: OrderRejected where it has ended."""


class PublicApi(Protocol):
    """What a venue tells without a key. One object serves a whole process."""

    async def symbols(self) -> Mapping[str, object]:
        """Every traded symbol, by DES's name."""

    async def depth(self, symbol: str) -> DepthSnapshot:
        """The order book by REST. Raises GatewayError, InvalidInput."""

    async def quotes(self, symbols: Collection[str]) -> Sequence[Quote]:
        """Best bid and ask of each symbol that has both, by one request however many are asked for: what a stream
        that can't be had would tell. Raises GatewayError, InvalidInput."""

    async def trades(self, symbol: str) -> Sequence[PublicTrade]:
        """The newest public trades, oldest first, with the ids that the stream gives them. Raises GatewayError,
        InvalidInput."""

    async def candles(
        self, symbol: str, timeframe: str, limit: int, before: datetime | None = None
    ) -> Sequence[Candle]:
        """The newest ``limit`` candles (opened before a moment), oldest first; the last one may still grow.

        Raises GatewayError, InvalidInput.
        """

    async def now_ms(self) -> int:
        """The exchange's time, never ahead of it."""

    async def resync_clock(self) -> None:
        """Measures the exchange's clock again."""


class Venue(Protocol):
    """An exchange. A folder of this package with a ``VENUE`` that fits is found by its slug."""

    slug: str
    title: str
    versions: Versions[Any]

    @property
    def timeframes(self) -> Sequence[str]:
        """Of the candles that it tells."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def modes(self) -> Collection[str]:
        """The modes that can be used in this process; differs with the configuration."""

    def gateway(self, credentials: Credentials, mode: str, network: Network) -> Gateway:
        """A gateway for one account, by the version that the account goes by now. Raises InvalidInput for a mode that
        the venue doesn't have."""

    def public(self, mode: str, network: Network) -> PublicApi:
        """The venue's public data, by the version that the mode goes by now; one shared object a network, mode and
        version."""

    async def market_dialects(self, mode: str, network: Network) -> Sequence[MarketDialect]:
        """One an address, as many as the capabilities say. Reads the symbol table first: may raise GatewayError."""

    async def user_dialect(self, mode: str, network: Network) -> UserDialect:
        """Reads the symbol table first: may raise GatewayError."""
