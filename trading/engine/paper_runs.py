"""How long instances ran on paper: rows that are moved on while they run and there are prices to decide on.

What isn't stored didn't run: an engine that dies takes a few seconds along, and a time without prices counts nothing.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID

from connections.gateways import Side
from trading.dry_run import fingerprint
from trading.engine.desk import Desk
from trading.engine.state import TenantState, changed
from trading.engine.tenant import Tenant
from trading.models import InstanceMode, PaperRun, StrategyInstance

# So often the rows are moved on.
STEP_SECONDS = 5.0
# What lies between two steps further apart than this wasn't all run.
_LONGEST_STEP = 3


@dataclass(slots=True)
class _Run:
    row: PaperRun
    epoch: int
    # Monotonic.
    at: float


@dataclass(slots=True)
class PaperRuns:
    """The runs that this engine counts, by instance."""

    runs: dict[UUID, _Run] = field(default_factory=dict)

    def count(self, desk: Desk, tenant: Tenant) -> None:
        """Has the tenant move on what runs; for the sweep."""
        if any(row.mode == InstanceMode.PAPER for row in tenant.state.instances.values()):
            tenant.post(partial(self.advance, desk, tenant), key="paper-runs")

    async def advance(self, desk: Desk, tenant: Tenant) -> None:
        """Writes what is due. In the tenant's turn."""
        running = {row.pk: row for row in tenant.state.running() if _runs_on_paper(desk, tenant.state, row)}
        for key in [key for key, row in tenant.state.instances.items() if key not in running and key in self.runs]:
            del self.runs[key]
        now = desk.clock.monotonic()
        writes, stepped = tenant.write_set(), {}
        for key, instance in running.items():
            known, print_ = self.runs.get(key), _fingerprint(tenant.state, instance)
            if known is None or not self._goes_on(known, tenant, print_, now):
                row = PaperRun(
                    user_id=tenant.user_id, instance_id=key, fingerprint=print_, started_at=desk.clock.now(),
                    seen_at=desk.clock.now(),
                )  # fmt: skip
                writes.create(row)
            elif now - known.at >= STEP_SECONDS:
                row = changed(known.row, seen_at=known.row.seen_at + timedelta(seconds=now - known.at))
                writes.update(row, "seen_at")
            else:
                continue
            stepped[key] = _Run(row, tenant.epoch, now)
        if stepped:
            await desk.committer.commit(writes)
            self.runs |= stepped

    def _goes_on(self, known: _Run, tenant: Tenant, print_: str, now: float) -> bool:
        in_time = now - known.at <= STEP_SECONDS * _LONGEST_STEP
        return known.epoch == tenant.epoch and known.row.fingerprint == print_ and in_time


def _runs_on_paper(desk: Desk, state: TenantState, instance: StrategyInstance) -> bool:
    """Whether it could have acted just now, on paper."""
    if instance.mode != InstanceMode.PAPER:
        return False
    accounts = [state.accounts.get(key) for key in (instance.connection_id, instance.connection_b_id) if key]
    return all(
        account is not None
        and account.is_known
        and desk.price(account.connection.feed, instance.symbol, Side.BUY) is not None
        for account in accounts
    )


def _fingerprint(state: TenantState, instance: StrategyInstance) -> str:
    """Here the instance is bound to paper accounts: its configuration names the connections beside them."""
    first, second = (
        state.accounts[key].connection if key else None
        for key in (instance.connection_id, instance.connection_b_id)
    )
    assert first is not None  # noqa: S101  # every instance has one
    return fingerprint(instance, first.paper_of_id or first.pk, (second.paper_of_id or second.pk) if second else None)
