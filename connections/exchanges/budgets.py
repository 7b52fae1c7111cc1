"""The budgets of one venue: what each request costs of which limit, of the address or of the account that sends it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from django.conf import settings

from connections.budget.budget import Budget
from connections.budget.ledgers import OwnLedger, SharedLedger
from connections.budget.limits import Bucket, bucket_of
from connections.budget.urgency import Urgency, urgency_of
from connections.exchanges.api_file import ApiFile
from connections.exchanges.call import URGENCIES, Call, Sender
from connections.exchanges.network import Network
from connections.gateways import Credentials, DeadlinePassed
from desproject.lib import bus

log = structlog.get_logger(__name__)

# So long before its deadline a request must have its turn, to be sent in time.
_TO_SEND = 0.05


InTurn = Callable[[], Awaitable[None]]


class VenueBudgets:
    """Limits of an address are everybody's: they are counted in Redis. Those of an account are counted by the process
    that trades with it, which is one at a time (ADR 1); what others send for it, the exchange's answers tell."""

    def __init__(self, api: ApiFile, feed: str, base: str, network: Network) -> None:
        self._api = api
        self._feed = feed.replace(":", "_")
        self._network = network
        self._costs = api.costs_by_request()
        self._place = f"{settings.CONFIG.egress_address}:{feed}:{base}"

    def sender(self, credentials: Credentials) -> Sender:
        """The sender of an account's requests. A key that nobody has stored counts as a tenant of its own."""
        own = {name: self._own(name) for name, row in self._api.budgets.items() if row.of == "account"}
        return Sender(credentials.tenant or "a new key", own)

    async def spend(self, call: Call) -> "InTurn":
        """Waits until the call may go. What it returns is awaited once more right before the call is written: it waits
        again for what was granted too long ago. Raises, both: DeadlinePassed, OutOfBudget, Throttled, Banned; nothing
        was sent.
        """
        urgency, tenant = urgency_of(URGENCIES[call.purpose]), call.sender.tenant
        costs = self._costs[call.key]
        if all(name in call.sender.budgets for name, _ in costs):
            await self._require_open()
        # The account's own limits first: who waits for them holds nothing that others could use.
        limits = [(self._named(call, name), cost) for name, cost in costs]
        limits.sort(key=lambda each: each[0] not in call.sender.budgets.values())
        until: dict[Budget, float] = {}

        async def in_turn() -> None:
            while stale := [each for each in limits if until.get(each[0], 0.0) <= self._network.clock.monotonic()]:
                budget, cost = stale[0]
                if budget in until:
                    budget.missed()
                until[budget] = await budget.take(cost, urgency, tenant, self._patience(call))

        await in_turn()
        return in_turn

    async def _require_open(self) -> None:
        """An account has limits of its own, but who is banned is its address."""
        name = next(name for name, row in self._api.budgets.items() if row.of == "address")
        await self._shared(name).take(0, Urgency.EXIT, "")

    def _patience(self, call: Call) -> float | None:
        """How long the call may wait, where it has a deadline. Raises DeadlinePassed."""
        if call.deadline is None:
            return None
        left = call.deadline.monotonic - self._network.clock.monotonic()
        if left <= 0:
            raise DeadlinePassed("the time to send this order had passed")
        return max(left - _TO_SEND, 0.0)

    @staticmethod
    def granted(limit: int) -> float:
        """A documented limit as the exchange grants it here."""
        return limit * settings.CONFIG.exchange_limits_factor

    def of(self, call: Call) -> Budget:
        """The first of the budgets that the call counts to."""
        return self._named(call, self._costs[call.key][0][0])

    def _named(self, call: Call, name: str) -> Budget:
        own = call.sender.budgets.get(name)
        return self._shared(name) if own is None else own

    async def shut(self, seconds: float, *, banned: bool) -> None:
        """The exchange wants nothing more from this address for so long."""
        log.warning("exchange_shut", feed=self._feed, seconds=round(seconds, 1), banned=banned)
        names = [name for name, row in self._api.budgets.items() if row.of == "address"]
        await asyncio.gather(*(self._shared(name).shut(seconds, banned=banned) for name in names))

    def _shared(self, name: str) -> Budget:
        """One of the process, which all versions of the venue share: the exchange counts what the address sends."""
        bucket = self._bucket(name)
        return self._network.shared((self._place, name, bucket), lambda: self._made(name, bucket))

    def _made(self, name: str, bucket: Bucket) -> Budget:
        client = self._network.shared("redis", bus.connect)
        ledger = SharedLedger(f"{self._place}:{name}", bucket, client, self._network.clock)
        return Budget(f"{self._feed}_{name}", bucket, ledger, self._network.clock)

    def _own(self, name: str) -> Budget:
        clock, bucket = self._network.clock, self._bucket(name)
        return Budget(f"{self._feed}_{name}", bucket, OwnLedger(bucket, clock), clock)

    def _bucket(self, name: str) -> Bucket:
        return bucket_of(self._api.budgets[name], settings.CONFIG.exchange_limits_factor)
