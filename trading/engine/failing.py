"""A strategy that fails hurts nobody else: it is stopped by itself, and its owner is told why."""

import traceback
from uuid import UUID

from audit.models import AuditLog
from audit.record import entry
from trading.engine import news
from trading.engine.desk import Desk
from trading.engine.state import changed
from trading.engine.tenant import Tenant
from trading.models import InstanceStatus, StrategyInstance
from trading.outside.process import OutsideFailed


async def stop_instance(desk: Desk, tenant: Tenant, instance_id: UUID, error: Exception) -> None:
    """Sets the instance to ``error`` and records the stack."""
    instance = tenant.state.instances.get(instance_id)
    if instance is None or instance.status != InstanceStatus.RUNNING:
        return
    desk.figures["strategy_errors"] += 1
    await _end(
        desk, tenant, instance, InstanceStatus.ERROR, f"{type(error).__name__}: {error}",
        entry(
            "strategy.error",
            user_id=tenant.user_id,
            resource_type="strategy_instance",
            resource_id=instance_id,
            details={"stack": stack_of(error)[-4000:]},
            at=desk.clock.now(),
        ),
    )  # fmt: skip


def stack_of(error: Exception) -> str:
    """Where it happened: in another process, if that told it."""
    told = error.stack if isinstance(error, OutsideFailed) else ""
    return told or "".join(traceback.format_exception(error))


async def pause_instance(
    desk: Desk, tenant: Tenant, instance: StrategyInstance, reason: str, event: AuditLog
) -> None:
    """Pauses a running instance, for a reason that its owner sees, with ``event`` in the audit log."""
    if instance.status == InstanceStatus.RUNNING:
        await _end(desk, tenant, instance, InstanceStatus.PAUSED, reason, event)


async def _end(
    desk: Desk, tenant: Tenant, instance: StrategyInstance, status: InstanceStatus, reason: str, event: AuditLog
) -> None:
    ended = changed(instance, status=status, status_reason=reason[:300])
    writes = tenant.write_set()
    writes.update(ended, "status", "status_reason")
    writes.create(event)
    await desk.committer.commit(writes)
    tenant.state.instances[instance.pk] = ended
    news.tell_status(desk, ended)
