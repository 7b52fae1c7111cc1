"""The gate before live trading (STG-6): the very configuration that is to trade live has run on paper before.

A configuration is told by its fingerprint: whatever of an instance decides what it orders, and where. How long it ran
on paper is evidenced by rows (``PaperRun``) that the engine moves on while the instance runs with prices to decide on.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.roles import Thing, require
from accounts.tenancy import everyone, tenant_scope
from audit.record import record
from desproject.lib.errors import Conflict, NotFound
from trading.models import DryRunLift, InstanceMode, PaperRun, StrategyInstance

_REASON_LENGTH = 300


class DryRunNeeded(Conflict):
    """This configuration hasn't run on paper for long enough."""

    code = "DRY_RUN_NEEDED"


class DryRunNotNeeded(Conflict):
    """There is nothing to lift."""

    code = "DRY_RUN_NOT_NEEDED"


@dataclass(frozen=True, slots=True)
class DryRun:
    """How far an instance's present configuration has come. Seconds; ``lifted`` by an administrator."""

    required: int
    ran: int
    lifted: bool

    @property
    def left(self) -> int:
        """What is still to be run on paper before it may go live."""
        return 0 if self.lifted else max(self.required - self.ran, 0)


def fingerprint(instance: StrategyInstance, connection_id: UUID, connection_b_id: UUID | None) -> str:
    """Of an instance's configuration on these (real) connections; its name is no part of it."""
    values = [
        instance.strategy, instance.params, instance.symbol, instance.timeframe, instance.sizing, instance.exits,
        str(connection_id), str(connection_b_id or ""),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def dry_runs(instances: Collection[StrategyInstance]) -> dict[UUID, DryRun]:
    """By instance; inside the tenant's scope. The instances' connections are read along."""
    wanted = {row.pk: _present(row) for row in instances}
    seconds = dict.fromkeys(wanted, 0.0)
    for run in PaperRun.objects.filter(instance__in=wanted, fingerprint__in=set(wanted.values())):
        if wanted[run.instance_id] == run.fingerprint:
            seconds[run.instance_id] += (run.seen_at - run.started_at).total_seconds()
    lifts = set(DryRunLift.objects.filter(instance__in=wanted).values_list("instance_id", "fingerprint"))
    required = settings.CONFIG.dry_run_seconds
    return {key: DryRun(required, int(seconds[key]), (key, print_) in lifts) for key, print_ in wanted.items()}


def require_dry_run(instance: StrategyInstance) -> None:
    """Raises DryRunNeeded for an instance that is about to trade live."""
    if instance.mode == InstanceMode.PAPER or not settings.CONFIG.dry_run_seconds:
        return
    found = dry_runs([instance])[instance.pk]
    if found.left:
        raise DryRunNeeded(
            f"this configuration has run on paper for {found.ran} of {found.required} seconds",
            fields={"mode": [f"Must be paper for {found.left} more seconds first, or an administrator lifts that."]},
        )


def lift(*, administrator: User, instance_id: UUID, reason: str) -> StrategyInstance:
    """Lets an instance's present configuration trade live without its dry run. Any tenant's; both are told.

    Raises NotAllowed, NotFound, DryRunNotNeeded.
    """
    require(administrator, Thing.OPERATION)
    with everyone():
        found = StrategyInstance.objects.filter(pk=instance_id, is_deleted=False, user__is_deleted=False)
        instance: StrategyInstance | None = found.select_related("connection", "connection_b").first()
    if instance is None:
        raise NotFound("not found")
    with tenant_scope(instance.user_id):
        state = dry_runs([instance])[instance.pk]
        if not state.left:
            raise DryRunNotNeeded("this configuration may be started live already")
        _store_lift(administrator, instance, reason, state)
    return instance


def _store_lift(administrator: User, instance: StrategyInstance, reason: str, state: DryRun) -> None:
    details = {"reason": reason, "ran": state.ran, "required": state.required, "by": str(administrator.pk)}
    try:
        with transaction.atomic():
            DryRunLift.objects.create(
                user_id=instance.user_id, instance=instance, fingerprint=_present(instance),
                reason=reason[:_REASON_LENGTH], lifted_by=administrator,
            )
            for event, user_id in (
                ("strategy.dry_run_lifted", instance.user_id), ("admin.dry_run_lifted", administrator.pk),
            ):  # fmt: skip
                record(
                    event, user_id=user_id, resource_type="strategy_instance", resource_id=instance.pk, details=details
                )
    except IntegrityError:
        raise DryRunNotNeeded("this configuration may be started live already") from None


def _present(instance: StrategyInstance) -> str:
    """A paper account stands for the connection beside it."""
    first, second = instance.connection, instance.connection_b
    return fingerprint(instance, first.paper_of_id or first.pk, (second.paper_of_id or second.pk) if second else None)
