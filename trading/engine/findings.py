"""What a comparison of an account with its exchange found to differ, for its owner to read."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from connections.gateways import OrderReport
from desproject.lib.money import plain
from trading.engine.state import LiveOrder
from trading.models import Balance

# A report holds no more than so many differences: an account that somebody else trades on could fill the database.
_MOST = 200


class Cause(StrEnum):
    """Why an account was compared."""

    START = "start"
    GAP = "gap"
    TIMER = "timer"
    ASKED = "asked"
    # Working orders only, while their stream is away: what is found was to be expected, and isn't reported.
    POLL = "poll"


class Kind(StrEnum):
    """What differed. All of it is repaired when it is told."""

    # Placed at the exchange by somebody else, and unknown until now. Subject: our id of it.
    ORDER_ELSEWHERE = "order_elsewhere"
    ORDER_STATUS = "order_status"
    # The exchange doesn't know the order any more: it was ended here.
    ORDER_DENIED = "order_denied"
    # A fill that no stream had told. Subject: the exchange's id of the trade.
    FILL_MISSED = "fill_missed"
    # Subject: the asset.
    BALANCE = "balance"
    # A position on margin. Subject: the symbol. Repaired by a trade that says that it is a correction.
    POSITION = "position"


@dataclass(frozen=True, slots=True)
class Difference:
    """``exchange`` is what was taken over, ``here`` what was believed before; empty for nothing."""

    kind: Kind
    subject: str
    exchange: str
    here: str


@dataclass(slots=True)
class Findings:
    """Collects the differences of one comparison."""

    cause: Cause
    at: datetime
    orders_checked: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, kind: Kind, subject: object, exchange: object, here: object) -> None:
        found = Difference(kind, str(subject), _text(exchange), _text(here))
        if len(self.differences) < _MOST and found not in self.differences:
            self.differences.append(found)

    def order(self, live: LiveOrder, status: str, fills: Iterable[str], report: OrderReport) -> None:
        """What booking a report changed of an order that had this status and these fills."""
        if live.order.status != status:
            self.add(Kind.ORDER_STATUS, live.order.pk, live.order.status, status)
        told = {fill.exchange_trade_id: fill for fill in report.fills}
        for trade_id in live.fills.keys() - set(fills):
            if (fill := told.get(trade_id)) is not None:
                self.add(Kind.FILL_MISSED, trade_id, f"{plain(fill.quantity)} at {plain(fill.price)}", "")

    def elsewhere(self, live: LiveOrder) -> None:
        order = live.order
        self.add(Kind.ORDER_ELSEWHERE, order.pk, f"{order.side} {plain(order.quantity)} {order.symbol}", "")

    def denied(self, order_id: UUID, status: str) -> None:
        self.add(Kind.ORDER_DENIED, order_id, "", status)

    def balance(self, row: Balance, here: Decimal) -> None:
        self.add(Kind.BALANCE, row.asset, row.total, here)

    @property
    def is_worth_a_row(self) -> bool:
        """Comparisons that find nothing are many, and tell nothing, unless somebody asked."""
        if self.cause is Cause.POLL:
            return False
        return bool(self.differences) or self.cause is Cause.ASKED

    def as_json(self) -> list[dict[str, str]]:
        return [asdict(difference) for difference in self.differences]


def _text(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
