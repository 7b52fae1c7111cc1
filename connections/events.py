"""What streams tell: market events, published once for all tenants, and user events, per account.

They travel between processes as msgpack by Redis streams (desproject/lib/bus.py says how, connections/channels.py
which). Times are epoch milliseconds of the exchange, ``seen_ns`` is this machine's wall clock when the frame came in.
"""

from decimal import Decimal
from uuid import UUID

import msgspec


class MarketEvent(msgspec.Struct, frozen=True, tag_field="k", array_like=True):
    """Something public. ``symbol`` is DES's spelling (``BTC/USDT``)."""

    symbol: str
    seen_ns: int


class Quote(MarketEvent, frozen=True, tag="q"):
    """Best bid and ask. Latest wins: an older one may be dropped when the newer is already there."""

    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class PublicTrade(MarketEvent, frozen=True, tag="t"):
    """One public trade; never dropped silently.

    Polled, several of one order and price may be told as one: ``first_id`` to ``trade_id``, the sum as ``quantity``.
    """

    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int
    first_id: int | None = None


class CandleUpdate(MarketEvent, frozen=True, tag="c"):
    """The exchange's own candle, growing until ``closed``; closed ones are never dropped silently."""

    timeframe: str
    opened_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool


class BookState(MarketEvent, frozen=True, tag="b"):
    """Whether the symbol's order book can be trusted, and its top levels (price, size) when it can."""

    valid: bool
    reason: str
    bids: tuple[tuple[Decimal, Decimal], ...] = ()
    asks: tuple[tuple[Decimal, Decimal], ...] = ()


class FeedState(MarketEvent, frozen=True, tag="f"):
    """The feed came or went. With a ``symbol``: some of it got lost though the feed is up, ``reason`` says what; not
    ``up``: while the feed is polled only its best prices are told."""

    up: bool
    reason: str
    # What follows was asked for by REST about once a second: there is no socket.
    polled: bool = False


AnyMarketEvent = Quote | PublicTrade | CandleUpdate | BookState | FeedState


class MarketBatch(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a feed's Redis stream. A jump of ``sequence`` within a publisher's ``epoch`` means loss."""

    epoch: int
    sequence: int
    events: tuple[AnyMarketEvent, ...]


class FillTold(msgspec.Struct, frozen=True, array_like=True):
    """A fill inside an order report, see gateways.Fill."""

    exchange_trade_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: str
    executed_ms: int


class UserEvent(msgspec.Struct, frozen=True, tag_field="k", array_like=True):
    """Something about one account. A new ``epoch`` or a jump of ``sequence`` means that events were missed: the
    engine then takes no entries on that connection until it has caught up by REST."""

    connection_id: UUID
    user_id: UUID
    epoch: int
    sequence: int
    seen_ns: int


class OrderTold(UserEvent, frozen=True, tag="o"):
    """The exchange reported an order, maybe with one fill; fields as gateways.OrderReport."""

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    status: str
    quantity: Decimal
    price: Decimal | None
    filled_quantity: Decimal
    reported_ms: int
    fill: FillTold | None = None
    reject_reason: str = ""


class BalancesTold(UserEvent, frozen=True, tag="a"):
    """The exchange reported balances of some assets: (asset, free, locked)."""

    balances: tuple[tuple[str, Decimal, Decimal], ...]
    as_of_ms: int


class StreamTold(UserEvent, frozen=True, tag="s"):
    """The account's stream came (``up``), went, or only beats its heart: ``sequence`` is the newest one used."""

    up: bool
    reason: str = ""


AnyUserEvent = OrderTold | BalancesTold | StreamTold

encode = msgspec.msgpack.Encoder(decimal_format="string").encode
decode_market = msgspec.msgpack.Decoder(MarketBatch).decode
decode_user = msgspec.msgpack.Decoder(AnyUserEvent).decode


def feed_stream(feed: str) -> str:
    """The Redis stream that carries a feed's market events."""
    return f"des:market:{feed}"


def user_stream(shard: int) -> str:
    """The Redis stream that carries the user events of a shard's tenants."""
    return f"des:user:{shard}"
