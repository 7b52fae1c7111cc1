"""What an engine knows of a tenant's arbitrages: the fires that aren't settled, and what became of the newest ones."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from trading.arbitrage.adapting import REMEMBERED, Past
from trading.models import ArbitrageFire, ArbitrageLeg, FireStatus

# Of all pairs of a user together, when they are read from the database.
_READ = 500


@dataclass(slots=True)
class OpenFire:
    """A fire that isn't settled, with its orders. ``hedge_after`` is the monotonic time of the next hedge's try."""

    fire: ArbitrageFire
    legs: list[ArbitrageLeg]
    tries: int = 0
    hedge_after: float = float("-inf")


@dataclass(slots=True)
class Pairs:
    """By instance: the fire under way, the newest settled ones (oldest first), when it fired last, and until when it
    rests because something stood against it (monotonic)."""

    fires: dict[UUID, OpenFire] = field(default_factory=dict)
    past: dict[UUID, list[Past]] = field(default_factory=lambda: defaultdict(list))
    fired_at: dict[UUID, datetime] = field(default_factory=dict)
    rests_until: dict[UUID, float] = field(default_factory=dict)

    def take(self, opened: OpenFire) -> None:
        """Notes that a fire is under way; an instance has one at a time."""
        self.fires[opened.fire.instance_id] = opened
        self.fired_at[opened.fire.instance_id] = opened.fire.created_at

    def settle(self, fire: ArbitrageFire) -> None:
        """The fire is over: it counts among what was learnt."""
        self.fires.pop(fire.instance_id, None)
        learnt = self.past[fire.instance_id]
        if fire.settled_at is not None:
            learnt.append(past_of(fire, fire.settled_at))
        del learnt[:-REMEMBERED]

    def of_order(self, order_id: UUID) -> OpenFire | None:
        for opened in self.fires.values():
            if any(leg.order_id == order_id for leg in opened.legs):
                return opened
        return None


def past_of(fire: ArbitrageFire, settled_at: datetime) -> Past:
    clean = fire.exposed_at is None and fire.bought_quantity == fire.sold_quantity == fire.quantity
    return Past(clean, fire.latency_ms or 0.0, settled_at)


def read_pairs() -> Pairs:
    """Inside a tenant's scope, in a database thread."""
    pairs = Pairs()
    for fire in ArbitrageFire.objects.exclude(status=FireStatus.SETTLED).order_by("created_at"):
        pairs.take(OpenFire(fire, list(fire.legs.all())))
    newest = ArbitrageFire.objects.filter(settled_at__isnull=False).order_by("-settled_at")[:_READ]
    for fire in reversed(newest):
        pairs.fired_at[fire.instance_id] = max(fire.created_at, pairs.fired_at.get(fire.instance_id, fire.created_at))
        learnt = pairs.past[fire.instance_id]
        learnt.append(past_of(fire, fire.settled_at))
        del learnt[:-REMEMBERED]
    return pairs


def read_fire(order_id: UUID) -> OpenFire | None:
    """The fire of an order, whatever its state (inside a tenant's scope, in a database thread)."""
    leg = ArbitrageLeg.objects.filter(pk=order_id).select_related("fire").first()
    return OpenFire(leg.fire, list(leg.fire.legs.all())) if leg is not None else None
