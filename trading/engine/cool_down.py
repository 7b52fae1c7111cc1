"""No entries for a while after a loss (STG-10)."""

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections.database import run as run_in_db
from connections.gateways import Side
from desproject.lib.clock import Clock
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO
from trading.exits import parse_exits
from trading.models import StrategyInstance, Trade

# Fills that one way in and out may have.
_MOST_FILLS = 500


class CoolingDown(DomainError):
    """The instance has just lost."""

    code = "COOL_DOWN"


async def require_over(instance: StrategyInstance, clock: Clock) -> None:
    """Raises CoolingDown."""
    seconds = parse_exits(instance.exits).cool_down_seconds
    if seconds is None:
        return
    lost_at = await run_in_db(_lost_at, instance.user_id, instance.pk, instance.connection_id)
    if lost_at is not None and (left := lost_at + timedelta(seconds=seconds) - clock.now()) > timedelta():
        raise CoolingDown(f"its last position was lost: no entry for {int(left.total_seconds()) + 1} s")


def _lost_at(user_id: UUID, instance_id: UUID, connection_id: UUID) -> datetime | None:
    """When the last position was closed, if with a loss (in a database thread): its fills, newest first, are sales and
    then the purchases before them."""
    with tenant_scope(user_id):
        rows = Trade.objects.filter(order__instance_id=instance_id, connection_id=connection_id)
        fills = rows.order_by("-executed_at", "-created_at", "-pk").values_list("side", "realized_pnl", "executed_at")
        closed_at: datetime | None = None
        result, entered = ZERO, False
        for side, realized, at in fills[:_MOST_FILLS]:
            if side == Side.SELL and entered:
                break
            entered = entered or (closed_at is not None and side == Side.BUY)
            if side == Side.SELL:
                closed_at = closed_at or at
            if closed_at is not None:  # purchases after the last sale are of a position that is still open
                result += Decimal(realized)
        return closed_at if result < 0 else None
