"""The contract of a gateway: the client object that talks to an exchange for one connection.

Words used by every venue are here; the venue's own spelling stays in its folder under ``connections/exchanges``.

The errors, split by what a caller does about them::

    GatewayError
    ├── NothingHappened          the exchange did not act; trying again later is safe
    │   ├── Throttled            over a limit; wait ``retry_after`` seconds
    │   │   ├── Banned           this address is shut out; all traffic stops until then
    │   │   └── OutOfBudget      we stopped ourselves: it would have waited too long for its turn
    │   ├── Unreachable          no connection could be made, or the exchange says it is overloaded
    │   └── DeadlinePassed       we stopped ourselves before sending
    ├── OrderRejected            permanent: the exchange said no
    │   └── FilterRefused        the order doesn't fit the symbol's filters: they may have changed
    ├── OutcomeUnknown           it may have happened; ask by client order id before anything else
    ├── UnknownOrder             the exchange doesn't know the order
    ├── KeyRefused               key, signature, address or permission refused; the connection is unhealthy
    ├── NotOffered               this venue can't do that; its capabilities say so
    └── UnexpectedShape          the answer doesn't look as documented
        └── UnreadableRefusal    it says that the request failed, and nobody can read why
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"


class TimeInForce(StrEnum):
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class ReportStatus(StrEnum):
    """What an exchange says of an order."""

    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class GatewayError(DomainError):
    """Something went wrong at or on the way to the exchange."""

    code = "EXCHANGE_ERROR"
    status = 502


class NothingHappened(GatewayError):
    code = "EXCHANGE_TRY_LATER"
    status = 503


class Throttled(NothingHappened):
    code = "EXCHANGE_THROTTLED"


class Banned(Throttled):
    code = "EXCHANGE_BANNED"


class OutOfBudget(Throttled):
    code = "EXCHANGE_BUDGET_EXHAUSTED"


class Unreachable(NothingHappened):
    code = "EXCHANGE_UNREACHABLE"


class DeadlinePassed(NothingHappened):
    code = "SEND_DEADLINE_PASSED"


class OrderRejected(GatewayError):
    code = "ORDER_REJECTED"
    status = 400

    def __init__(self, message: str, *, exchange_code: str) -> None:
        super().__init__(message)
        self.exchange_code = exchange_code


class FilterRefused(OrderRejected):
    """The order breaks the symbol's filters (steps, least and most) as the exchange has them now."""


class OutcomeUnknown(GatewayError):
    code = "OUTCOME_UNKNOWN"
    status = 504


class UnknownOrder(GatewayError):
    code = "UNKNOWN_ORDER"
    status = 404


class KeyRefused(GatewayError):
    code = "KEY_REFUSED"
    status = 400


class NotOffered(GatewayError):
    code = "NOT_OFFERED"
    status = 400


class UnexpectedShape(GatewayError):
    code = "UNEXPECTED_SHAPE"


class UnreadableRefusal(UnexpectedShape):
    """An error page, say of a proxy on the way: a temporary failure, and no sign that the exchange has changed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key in the clear; lives only in memory and never shows itself.

    ``tenant`` names who shares in the exchange's request limits by it, ``connection`` whose account it is; both are
    empty for a key that isn't stored (yet).
    """

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    tenant: str = field(default="", compare=False)
    connection: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """The exchange's filters for one symbol. Steps, minima and maxima in base or quote units; 0 means no limit.

    ``price_bands``, where the step depends on the price: (from this price on, step), highest first. ``price_step`` is
    then the finest of them.
    """

    symbol: str
    base: str
    quote: str
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    market_max_quantity: Decimal = ZERO
    price_bands: tuple[tuple[Decimal, Decimal], ...] = ()

    def price_step_at(self, price: Decimal) -> Decimal:
        """In which steps prices move around this one. Every band begins at a multiple of the steps beside it."""
        return next((step for lowest, step in self.price_bands if price >= lowest), self.price_step)


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order ready to send: already rounded by the symbol's rules."""

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False


@dataclass(frozen=True, slots=True)
class SendDeadline:
    """Nothing may be written to the wire past ``monotonic`` (the clock's seconds)."""

    monotonic: float


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, as the exchange tells it."""

    exchange_trade_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: str  # "maker", "taker", or "" where not told
    executed_at: datetime


@dataclass(frozen=True, slots=True)
class OrderReport:
    """The state of an order at the exchange, with the fills that came along (all, some or none of its fills).

    ``filled_quantity`` is cumulative. ``reported_at`` is the exchange's time.
    """

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    status: ReportStatus
    quantity: Decimal
    price: Decimal | None
    filled_quantity: Decimal
    reported_at: datetime
    fills: tuple[Fill, ...] = ()
    reject_reason: str = ""


@dataclass(frozen=True, slots=True)
class AssetBalance:
    """What the account holds: ``free`` plus ``locked`` in open orders, or as margin."""

    asset: str
    free: Decimal
    locked: Decimal


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """Balances as of the exchange's time. ``complete`` says that assets not named are zero."""

    balances: tuple[AssetBalance, ...]
    as_of: datetime
    complete: bool


class MarginType(StrEnum):
    """What backs a position: all of the account's balance, or only what was set aside for it."""

    CROSS = "cross"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class MarginSettings:
    """How positions of one symbol are held: their worth is at most ``leverage`` times their margin."""

    leverage: int
    margin_type: MarginType


@dataclass(frozen=True, slots=True)
class AccountPosition:
    """An open position. ``quantity`` is in base and below 0 for a short one; the profit is in the settlement asset.

    ``liquidation_price`` is None where no price would liquidate it.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    leverage: int
    margin_type: MarginType
    liquidation_price: Decimal | None


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """What a position earned (above 0) or paid when funding was due."""

    exchange_id: str
    symbol: str
    amount: Decimal
    asset: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    can_read: bool
    can_trade: bool
    can_withdraw: bool
    ip_restricted: bool


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar of a feed, opened at ``opened_at`` (exchange's UTC boundary)."""

    symbol: str
    timeframe: str
    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool


class Gateway(Protocol):
    """One account at one exchange. Every call may raise the errors above; none is retried inside except reads."""

    async def permissions(self) -> KeyPermissions:
        """What the key may do. Raises KeyRefused."""

    async def rules(self, symbol: str) -> SymbolRules:
        """The symbol's filters, cached for an hour. Raises InvalidInput for a symbol that is not traded."""

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        """Sends the order once. The deadline is rechecked right before the write (DeadlinePassed), and given to the
        exchange as the request's expiry where it knows one."""

    async def cancel_order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        """Cancels. Raises UnknownOrder when it isn't open (any more): ask for its state then.

        Orders placed elsewhere are named by the exchange's id, here and in ``order``: others' ids may be empty, or used
        twice.
        """

    async def order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        """The order's state. Raises UnknownOrder: the exchange says that it has never seen the id."""

    async def open_orders(self) -> Sequence[OrderReport]: ...

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        """Executions since the time (inclusive), or of one order, oldest first, all pages."""

    async def account(self) -> AccountSnapshot: ...

    async def positions(self) -> Sequence[AccountPosition]:
        """All that are open; a spot account has none."""

    async def margin_settings(self, symbol: str) -> MarginSettings:
        """Raises NotOffered where there is no margin."""

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        """Sets it and says what is in force. Raises OrderRejected for what the exchange doesn't allow, NotOffered."""

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        """Raises OrderRejected, for example while the symbol has orders or a position; NotOffered."""

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Since the time (inclusive), oldest first, all pages; none on spot."""

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        """The newest ``limit`` candles, oldest first; the last one may not be closed."""

    async def aclose(self) -> None: ...
