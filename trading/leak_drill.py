"""A key leaked: one action disables it, cancels its orders, ends its stream, takes a new key, and shows its trades.

The key is disabled and the connection's kill switch pressed in one transaction, before the exchange is asked anything.
The switch stays on until its owner has looked at the trades and lifts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from accounts.models import User
from connections.gateways import Credentials
from connections.models import Connection
from connections.paper import require_key
from connections.services import change_connection, disable_key
from risk.models import KillLevel, KillSwitch
from risk.services import press_kill_switch
from trading.models import Order, Trade
from trading.order_states import OPEN

REASON = "its key leaked: replace it by a new one"
_TRADES_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Leak:
    """What was done. ``open_orders`` are being cancelled; ``trades``, newest first, are to be reviewed."""

    connection: Connection
    kill_switch: KillSwitch
    open_orders: int
    trades: Sequence[Trade]


def answer_leak(*, user: User, connection: Connection, new_key: Credentials | None = None) -> Leak:
    """Inside the user's scope. Without ``new_key`` the connection stays disabled until its key is changed.

    Raises PaperAccountHasNoKey, and what ``change_connection`` raises: the old key is disabled all the same then.
    """
    require_key(connection)
    with transaction.atomic():
        # First: it waits for commits under way, and nothing is committed for the connection after it.
        switch = press_kill_switch(
            user=user, level=KillLevel.CONNECTION, target_id=connection.pk, reason=REASON, flatten=False
        )
        disable_key(user=user, connection=connection, reason=REASON)
        # Before the commit: from then on the engine cancels them, and each one done is one fewer.
        open_orders = Order.objects.filter(connection=connection, status__in=OPEN).count()
    if new_key is not None:
        connection = change_connection(user=user, connection=connection, name=None, credentials=new_key)
    trades = list(Trade.objects.filter(connection=connection).order_by("-executed_at")[:_TRADES_SHOWN])
    return Leak(connection, switch, open_orders, trades)
