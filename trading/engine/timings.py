"""How long things take in an engine, for the metrics."""

from datetime import datetime

from desproject.lib.clock import Clock
from desproject.lib.metrics.registry import METRICS
from trading.models import Signal

# From the exchange's frame at the stream process (or the time that closed a bar) to the order in the database.
TICK_TO_ORDER = METRICS.recorder("order.tick_to_order")
# From the decision that became the signal to the request handed to the exchange's client, and to its answer.
SIGNAL_TO_WIRE = METRICS.recorder("order.signal_to_wire")
SIGNAL_TO_ACK = METRICS.recorder("order.signal_to_ack")
# From the request handed to the client to the exchange's answer, of any kind.
SEND = METRICS.recorder("order.send")
# All instances of a strategy on one chart, evaluated with one call.
EVALUATION = METRICS.recorder("strategy.evaluation")
# One group's transaction, with the way to the database thread and back.
COMMIT = METRICS.recorder("database.commit")


def ordered(clock: Clock, signal: Signal | None) -> None:
    """The signal's order is in the database; orders from the API have none."""
    if signal is not None:
        TICK_TO_ORDER.record((clock.now() - signal.observed_at).total_seconds())


def on_wire(clock: Clock, decided_at: datetime | None) -> None:
    if decided_at is not None:
        SIGNAL_TO_WIRE.record((clock.now() - decided_at).total_seconds())


def acknowledged(clock: Clock, decided_at: datetime | None) -> None:
    if decided_at is not None:
        SIGNAL_TO_ACK.record((clock.now() - decided_at).total_seconds())
