"""What a trading engine leaves in its process's metrics."""

import pytest

from accounts.models import User
from desproject.lib.metrics.registry import METRICS
from tests.trading.engine.harness import Bench, running_bench, until
from tests.trading.engine.test_signals import WARM_UP, Candles, seeded, started

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]
TIMED = (
    "order.tick_to_order", "order.signal_to_wire", "order.signal_to_ack", "order.send", "strategy.evaluation",
    "database.commit",
)  # fmt: skip


def recorded() -> dict[str, int]:
    return {name: METRICS.recorder(name).window().count for name in TIMED}


async def enter(bench: Bench, user: User) -> None:
    """One signal of the user's strategy, up to its fill."""
    connection, _ = await bench.bind(user, USDT="100000")
    await bench.quote_of_the_simulator()
    await started(user, connection)
    await seeded(bench)
    await Candles(bench).close(*WARM_UP, 99_000, 98_000)

    async def is_filled() -> bool:
        return bench.engine.desk.figures["fills"] > 0 and bench.engine.desk.figures["acknowledged"] > 0

    await until(is_filled)


async def test_one_traded_signal_is_counted_and_timed_once(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recorded()
    async with running_bench(monkeypatch) as bench:
        await enter(bench, alice)
        shown = METRICS.snapshot("engine", "here")
        more = {name: count - before[name] for name, count in recorded().items()}
    assert {shown.totals[f"engine.{name}"] for name in ("signals", "orders", "acknowledged")} == {1}
    assert (shown.gauges["engine.tenants"], shown.gauges["engine.instances"]) == (1, 1)
    assert (more["order.tick_to_order"], more["order.signal_to_ack"]) == (1, 1)
    # Each attempt is one: a send that came to nothing is tried again.
    assert more["order.send"] == more["order.signal_to_wire"] == 1 + shown.totals.get("engine.send_errors", 0)
    assert more["strategy.evaluation"] >= 3
    assert more["database.commit"] >= 2
    assert not [name for name in METRICS.snapshot("engine", "here").totals if name.startswith("engine.")]
