"""The paper accounts of one engine's tenants: built from the database, filled by market events, heard like an exchange.

The database's orders and trades are all that there is of a paper account. What happens to it in memory is told to its
tenant like the news of a stream, and counts once that is booked: a process that dies in between takes it along, and
whoever builds the account again sees an order that still rests. So nothing is filled twice, and nothing can be filled
that isn't booked.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.conf import settings

from accounts.tenancy import tenant_scope
from connections.database import run as run_in_db
from connections.events import BookState, PublicTrade, Quote
from connections.exchanges.contract import PublicApi
from connections.gateways import Fill, Gateway, OrderReport, Side, SymbolRules
from connections.models import Connection
from desproject.lib.clock import Clock
from desproject.lib.errors import NotFound
from desproject.lib.money import ZERO
from trading.models import Order, Trade
from trading.order_requests import request_of
from trading.order_states import WORKING
from trading.paper.account import PaperAccount, PaperOrder, Terms
from trading.paper.gateway import PaperGateway
from trading.paper.prices import Prices
from trading.quotes import quote_of

# Called with (user, connection, what happened to an order).
Tell = Callable[[UUID, UUID, OrderReport], None]


@dataclass(slots=True)
class _Open:
    user_id: UUID
    feed: str
    account: PaperAccount


class PaperExchange:
    """Opens accounts when they are first used, and forgets them with their tenants."""

    def __init__(
        self,
        quotes: Mapping[tuple[str, str], Quote],
        books: Mapping[tuple[str, str], BookState],
        clock: Clock,
        tell: Tell,
    ) -> None:
        self._quotes, self._books, self._clock, self._tell = quotes, books, clock, tell
        self._open: dict[UUID, _Open] = {}
        self._forgotten: Counter[UUID] = Counter()
        self._locks: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)

    def gateway(self, connection_id: UUID, user_id: UUID, feed: str, public: PublicApi) -> Gateway:
        """The gateway of a paper account."""
        return PaperGateway(
            partial(self._account, connection_id, user_id), public, Prices(feed, self._quotes, self._books),
            self._clock, partial(self._tell_all, user_id, connection_id),
        )  # fmt: skip

    def forget(self, user_id: UUID) -> None:
        """The tenant is another engine's, or is read anew."""
        self._forgotten[user_id] += 1
        for key in [key for key, entry in self._open.items() if entry.user_id == user_id]:
            del self._open[key]
            self._locks.pop(key, None)

    def on_event(self, feed: str, event: Quote | PublicTrade) -> None:
        """Fills what rests at a price that the market has reached."""
        for key, entry in list(self._open.items()):
            if entry.feed != feed or event.symbol not in entry.account.resting_symbols:
                continue
            now = self._clock.now()
            if isinstance(event, Quote):
                bid, ask = (event.bid, event.bid_size), (event.ask, event.ask_size)
                entry.account.on_quote(event.symbol, bid, ask, now)
            else:
                entry.account.on_trade(event.symbol, event.price, event.quantity, now)
            self._tell_all(entry.user_id, key, entry.account.touched())

    def _tell_all(self, user_id: UUID, connection_id: UUID, orders: Sequence[PaperOrder]) -> None:
        for order in orders:
            self._tell(user_id, connection_id, order.report(self._clock.now()))

    async def _account(self, connection_id: UUID, user_id: UUID) -> PaperAccount:
        if (entry := self._open.get(connection_id)) is not None:
            return entry.account
        async with self._locks[connection_id]:
            while (entry := self._open.get(connection_id)) is None:
                known = self._forgotten[user_id]
                read = await run_in_db(_read, user_id, connection_id)
                if self._forgotten[user_id] == known:  # else its rows may have changed since
                    self._open[connection_id] = read
        return entry.account


def _read(user_id: UUID, connection_id: UUID) -> _Open:
    """The account as its rows say (in a database thread). Raises NotFound."""
    config = settings.CONFIG
    with tenant_scope(user_id):
        row = Connection.objects.filter(pk=connection_id, is_deleted=False).first()
        if row is None:
            raise NotFound("no such connection")
        held = {asset: Decimal(amount) for asset, amount in row.paper_start.items()}
        account = PaperAccount(held, Terms(Decimal(config.paper_fee_rate), Decimal(config.paper_slippage_rate)))
        fills: dict[UUID, list[Fill]] = defaultdict(list)
        trades = Trade.objects.filter(connection_id=connection_id).select_related("order")
        for trade in trades.order_by("executed_at", "created_at", "pk").iterator():
            fill = _fill(trade)
            fills[trade.order_id].append(fill)
            account.restore_trade(fill, _rules(trade.symbol))
        _restore_orders(account, Order.objects.filter(connection_id=connection_id, status__in=WORKING), fills)
        return _Open(user_id, row.feed, account)


def _restore_orders(account: PaperAccount, rows: Iterable[Order], fills: Mapping[UUID, Sequence[Fill]]) -> None:
    for row in sorted(rows, key=lambda row: row.created_at):
        account.restore_order(request_of(row, row.client_order_id), _rules(row.symbol), fills.get(row.pk, ()))


def _rules(symbol: str) -> SymbolRules:
    """All that money and what rests need: the prices of what rests are on the exchange's steps already."""
    return SymbolRules(symbol, *_assets(symbol), ZERO, ZERO, ZERO, ZERO, ZERO)


def _assets(symbol: str) -> tuple[str, str]:
    return symbol.partition("/")[0], quote_of(symbol)


def _fill(trade: Trade) -> Fill:
    return Fill(
        trade.exchange_trade_id, trade.order.exchange_order_id if trade.order else "", trade.symbol,
        Side(trade.side), trade.quantity, trade.price, trade.fee, trade.fee_asset, trade.liquidity, trade.executed_at,
    )  # fmt: skip
