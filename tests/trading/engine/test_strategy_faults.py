"""A strategy that raises, hangs, dies or says nonsense is stopped by itself; all others go on (STG-4)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from connections import database
from connections.models import Connection
from tests.trading.engine.harness import SYMBOL, running_bench, until
from tests.trading.engine.test_signals import WARM_UP, Candles, seeded, signals
from tests.trading.outside import files
from trading import strategies
from trading.models import InstanceStatus, StrategyInstance
from trading.services import create_instance, start_instance
from trading.strategies import rsi
from trading.strategies.contract import BarWindow, Evaluation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


def _started(user: User, connection: Connection, strategy: str, params: dict[str, Any]) -> StrategyInstance:
    with tenant_scope(user.pk):
        instance = create_instance(
            user=user, connection=connection, name=strategy, strategy=strategy, symbol=SYMBOL, timeframe="1s",
            params=params, sizing={"type": "quote_amount", "amount": "1000"},
        )  # fmt: skip
        return start_instance(user=user, instance=instance)


async def started(
    user: User, connection: Connection, strategy: str, params: dict[str, Any] | None = None
) -> StrategyInstance:
    return await database.run(_started, user, connection, strategy, params or {})


def _state(instance: StrategyInstance) -> tuple[str, str, list[str]]:
    with tenant_scope(instance.user_id):
        row = StrategyInstance.objects.get(pk=instance.pk)
        stacks = [
            str(event.details["stack"])
            for event in AuditLog.objects.filter(event_type="strategy.error", resource_id=str(instance.pk))
        ]
        return row.status, row.status_reason, stacks


async def is_stopped(instance: StrategyInstance) -> tuple[str, str]:
    """Its reason and the stack that was stored, once it is stopped."""

    async def is_so() -> bool:
        return (await database.run(_state, instance))[0] == InstanceStatus.ERROR

    await until(is_so, seconds=30)
    _, reason, (stack,) = await database.run(_state, instance)
    return reason, stack


async def signals_of(user: User) -> None:
    async def has_some() -> bool:
        return bool(await signals(user))

    await until(has_some, seconds=30)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An outside strategy in the operator's folder, beside a file that can't be loaded."""
    files.write(tmp_path)
    (tmp_path / "broken.py").write_text("raise RuntimeError\n")
    monkeypatch.setattr(settings.CONFIG, "strategy_plugins_dir", str(tmp_path))
    strategies.strategies.cache_clear()
    strategies.bar_strategies.cache_clear()
    yield
    strategies.strategies.cache_clear()
    strategies.bar_strategies.cache_clear()


@pytest.mark.database("embedded", reason="the same on any database")
@pytest.mark.system
@pytest.mark.parametrize(
    ("behave", "said"),
    [("raise", "a fault of its own"), ("hang", "took longer"), ("leave", "its process ended"), ("eat", "MemoryError")],
)
async def test_an_outside_strategy_that_misbehaves_hurts_nobody(
    alice: User, bob: User, outside: None, monkeypatch: pytest.MonkeyPatch, behave: str, said: str
) -> None:
    # Enough for the good one on a busy machine.
    monkeypatch.setattr(settings.CONFIG, "strategy_plugin_seconds", 3.0 if behave == "hang" else 30.0)
    async with running_bench(monkeypatch) as bench:
        hers, _ = await bench.bind(alice, USDT="100000")
        his, _ = await bench.bind(bob, USDT="100000")
        await bench.quote_of_the_simulator()
        bad = await started(alice, hers, "outside", {"behave": behave})
        good = await started(bob, his, "outside", {"behave": "well"})
        await seeded(bench)
        candles = Candles(bench)
        await candles.close(100_000, 100_001, 100_002)
        reason, stack = await is_stopped(bad)
        await signals_of(bob)
        assert (await database.run(_state, good))[0] == InstanceStatus.RUNNING
        assert await signals(alice) == []
    assert said in reason
    assert "Traceback" in stack
    assert bench.engine.market._outside.processes == 0
    assert "broken" not in strategies.strategies()


class _Nonsense:
    wants_quotes = False

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def on_bar(self, bars: BarWindow) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    "answer", [ValueError("a fault of ours"), Evaluation(np.ones(9, dtype=np.int8))], ids=["raises", "nonsense"]
)
async def test_a_built_in_strategy_that_misbehaves_hurts_nobody(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """Those with a period of 3 do; bob's is in the same batch."""
    batch = rsi.Strategy.batch

    def broken(params: Sequence[rsi.RsiParams]) -> Any:
        return _Nonsense(answer) if any(each.period == 3 for each in params) else batch(params)

    monkeypatch.setattr(rsi.Strategy, "batch", staticmethod(broken))
    async with running_bench(monkeypatch) as bench:
        hers, _ = await bench.bind(alice, USDT="100000")
        his, _ = await bench.bind(bob, USDT="100000")
        await bench.quote_of_the_simulator()
        bad = await started(alice, hers, "rsi", {"period": 3})
        await started(bob, his, "rsi", {"period": 2})
        await seeded(bench)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)
        _, stack = await is_stopped(bad)
        await signals_of(bob)
        assert bench.engine.desk.figures["part_failures"] == 0
    assert "Traceback" in stack
