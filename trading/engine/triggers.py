"""Which prices tenants wait for: orders with a trigger look at no price that can't concern them.

A tick costs one look-up and two comparisons, however many orders wait on its symbol.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from uuid import UUID

from trading.engine.committer import CommitUnknown
from trading.engine.tenant import Tenant

# (feed, symbol)
Instrument = tuple[str, str]
# (floor, ceiling): between them a price is of no interest.
Bounds = tuple[Decimal | None, Decimal | None]
# What a tenant's prices are handed to, inside its actor.
Look = Callable[[Tenant, Instrument, Decimal], Awaitable[None]]


@dataclass(slots=True)
class _Watch:
    """The tenants that wait for prices of one instrument, and the tightest of their bounds."""

    tenants: dict[UUID, tuple[Tenant, Bounds]] = field(default_factory=dict)
    bounds: Bounds = (None, None)


class Triggers:
    """Hands prices that somebody waits for to that tenant, in the order in which they came."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._watches: dict[Instrument, _Watch] = {}
        self._of_tenant: dict[UUID, set[Instrument]] = {}
        self._prices: dict[Hashable, list[Decimal]] = {}

    def __contains__(self, instrument: Instrument) -> bool:
        return instrument in self._watches

    def watch(self, tenant: Tenant, bounds: Mapping[Instrument, Iterable[Bounds]]) -> None:
        """Makes these the prices that a tenant waits for, instead of those before."""
        known = self._of_tenant.pop(tenant.user_id, set())
        for instrument in known - bounds.keys():
            self._leave(tenant.user_id, instrument)
        for instrument in known & bounds.keys():
            if self._watches[instrument].tenants[tenant.user_id][0] is not tenant:
                self._prices.pop((tenant.user_id, instrument), None)  # of an earlier lease: its orders are others'
        if not bounds:
            return
        self._of_tenant[tenant.user_id] = set(bounds)
        for instrument, wanted in bounds.items():
            watch = self._watches.setdefault(instrument, _Watch())
            watch.tenants[tenant.user_id] = (tenant, _tightest(wanted))
            watch.bounds = _tightest(found for _, found in watch.tenants.values())

    def forget_all_but(self, user_ids: Iterable[UUID]) -> None:
        """Tenants that went to another engine wait for nothing here."""
        for user_id in self._of_tenant.keys() - set(user_ids):
            for instrument in self._of_tenant.pop(user_id):
                self._leave(user_id, instrument)

    def _leave(self, user_id: UUID, instrument: Instrument) -> None:
        watch = self._watches[instrument]
        watch.tenants.pop(user_id, None)
        self._prices.pop((user_id, instrument), None)
        if watch.tenants:
            watch.bounds = _tightest(found for _, found in watch.tenants.values())
        else:
            del self._watches[instrument]

    def on_price(self, instrument: Instrument, price: Decimal) -> None:
        """A price of a trade, or of a quote that can be trusted."""
        watch = self._watches.get(instrument)
        if watch is None or _is_between(price, watch.bounds):
            return
        for tenant, bounds in watch.tenants.values():
            if not _is_between(price, bounds):
                self._tell(tenant, instrument, price)

    def _tell(self, tenant: Tenant, instrument: Instrument, price: Decimal) -> None:
        """Prices that came before the tenant looked are looked at in turn; of them only new extremes say anything."""
        if tenant.closed:
            return
        key = (tenant.user_id, instrument)
        waiting = self._prices.setdefault(key, [])
        if not waiting or price < min(waiting) or price > max(waiting):
            waiting.append(price)
        tenant.post(partial(self._hand_over, tenant, instrument), key=("price", instrument), first=True)

    async def _hand_over(self, tenant: Tenant, instrument: Instrument) -> None:
        """Prices of which it isn't known what came of them are looked at again, when the tenant was read anew."""
        key = (tenant.user_id, instrument)
        prices = deque(self._prices.pop(key, ()))
        while prices:
            try:
                await self._look(tenant, instrument, prices[0])
            except CommitUnknown:
                self._prices[key] = [*prices, *self._prices.get(key, ())]
                tenant.post(partial(self._hand_over, tenant, instrument), key=("price", instrument))
                raise
            prices.popleft()


def _is_between(price: Decimal, bounds: Bounds) -> bool:
    floor, ceiling = bounds
    return (floor is None or price > floor) and (ceiling is None or price < ceiling)


def _tightest(found: Iterable[Bounds]) -> Bounds:
    floors, ceilings = zip(*found, strict=True)
    return (
        max((floor for floor in floors if floor is not None), default=None),
        min((ceiling for ceiling in ceilings if ceiling is not None), default=None),
    )
