"""Ends orders that have outlived their time: what is left of them is cancelled, as often as it takes."""

from trading.engine import conditional, wishes
from trading.engine.desk import Desk
from trading.engine.tenant import Tenant
from trading.order_states import UNSENT, WORKING, OrderStatus


def enforce(desk: Desk, tenant: Tenant) -> None:
    """Cancels working orders whose time is over. What of them was filled meanwhile, the exchange's answer says."""
    now = desk.clock.now()
    for live in list(tenant.state.unfinished.values()):
        ends = live.order.expires_at
        if ends is None or ends > now:
            continue
        if live.order.status in UNSENT:
            conditional.post_end(desk, tenant, live, OrderStatus.EXPIRED, "timed_out")
        elif live.order.status in WORKING:
            if not live.cancelled_for:
                desk.figures["timed_out"] += 1
                live.cancelled_for = "timed_out"
            wishes.start_cancel(desk, tenant, live, None)
