"""Each minute, what every account is worth in its quote assets: rows for the equity line. No order waits for them.

An asset counts at the bid of its pair with the quote asset; without a quote, at the last one that this engine saw,
then at its position's average price. One that has none of these counts nothing: nobody trades it here, so nobody asked
for its price.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError

from accounts.tenancy import tenant_scope
from connections.database import run as run_in_db
from connections.gateways import Side
from desproject.lib.clock import to_millis
from trading.engine.desk import Desk
from trading.engine.state import Account, TenantState
from trading.engine.tenant import Tenant
from trading.engine.worth import average_price, worth
from trading.equity import point_shape
from trading.models import EquityPoint
from trading.push import News
from trading.quotes import quote_assets

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_BATCH = 200


class EquityLine:
    """Writes one point a minute, account and quote asset, for the tenants of one engine."""

    def __init__(self, desk: Desk, tenants: Mapping[UUID, Tenant]) -> None:
        self._desk = desk
        self._tenants = tenants
        # The last price of an asset in a quote asset, by (feed, symbol).
        self._marks: dict[tuple[str, str], Decimal] = {}
        # The last minute that was written of each account.
        self._written: dict[UUID, datetime] = {}

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self.write(self._desk.clock.now().replace(second=0, microsecond=0))
            await asyncio.sleep(_LOOK_SECONDS)

    async def write(self, minute: datetime) -> None:
        """Stores the points of this minute that we didn't write yet; those of an earlier owner stay."""
        owned = [tenant for tenant in self._tenants.values() if not tenant.closed]
        rows = [row for tenant in owned for row in self._points(tenant, minute)]
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            try:
                await run_in_db(_store, batch)
            except (DatabaseError, InterfaceError) as error:  # a line may have a hole
                log.warning("equity_not_stored", error=str(error))
                return
            for row in batch:
                self._written[row.connection_id] = minute
                point = point_shape((to_millis(row.at), row.value))
                data = {"connection": str(row.connection_id), "asset": row.asset, "point": point}
                self._desk.tell(row.user_id, News.EQUITY, partial(dict, data))

    def _points(self, tenant: Tenant, minute: datetime) -> Iterator[EquityPoint]:
        for account in tenant.state.accounts.values():
            # Before it is known, what it holds is what was known before it was ours.
            if not account.is_known or self._written.get(account.connection.pk) == minute:
                continue
            for asset in self._quotes(tenant.state, account):
                yield EquityPoint(
                    user_id=tenant.user_id, connection_id=account.connection.pk, asset=asset, at=minute,
                    value=self._worth(account, asset),
                )  # fmt: skip

    def _quotes(self, state: TenantState, account: Account) -> Collection[str]:
        key = account.connection.pk
        symbols = {position.symbol for position in account.positions.values()}
        symbols |= {row.symbol for row in state.instances.values() if row.connection_id == key}
        symbols |= {live.order.symbol for live in state.open_orders(key)}
        found = quote_assets([(key, symbol) for symbol in symbols], account.balances.values())
        return sorted(found.get(key, ()))

    def _worth(self, account: Account, quote: str) -> Decimal:
        return worth(account, quote, partial(self._mark, account))

    def _mark(self, account: Account, symbol: str) -> Decimal:
        key = (account.connection.feed, symbol)
        if (bid := self._desk.price(*key, Side.SELL)) is not None:
            self._marks[key] = bid
        if (mark := self._marks.get(key)) is not None:
            return mark
        return average_price(account, symbol)


def _store(rows: list[EquityPoint]) -> None:
    with tenant_scope(*{row.user_id for row in rows}):
        EquityPoint.objects.bulk_create(rows, ignore_conflicts=True)
