"""A strategy that fails hurts nobody else: it is stopped by itself, and its owner is told why."""

import traceback
from uuid import UUID

from audit.record import entry
from trading.engine.desk import Desk
from trading.engine.state import changed
from trading.engine.tenant import Tenant
from trading.models import InstanceStatus


async def stop_instance(desk: Desk, tenant: Tenant, instance_id: UUID, error: Exception) -> None:
    """Sets the instance to ``error`` and records the stack."""
    instance = tenant.state.instances.get(instance_id)
    if instance is None or instance.status != InstanceStatus.RUNNING:
        return
    failed = changed(instance, status=InstanceStatus.ERROR, status_reason=f"{type(error).__name__}: {error}"[:300])
    writes = tenant.write_set()
    writes.update(failed, "status", "status_reason")
    writes.create(
        entry(
            "strategy.error",
            user_id=tenant.user_id,
            resource_type="strategy_instance",
            resource_id=instance_id,
            details={"stack": "".join(traceback.format_exception(error))[-4000:]},
            at=desk.clock.now(),
        )
    )
    await desk.committer.commit(writes)
    tenant.state.instances[instance_id] = failed
    desk.figures["strategy_errors"] += 1
    desk.tell(
        tenant.user_id, "instance", {"id": str(instance_id), "status": "error", "status_reason": failed.status_reason}
    )
