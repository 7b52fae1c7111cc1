"""The engine under measurement: DES's own, whose strategy acts on every bar.

    python -m tests.bench.engine_process <instances>

The instances' real strategy is evaluated on every bar, as always; then its verdict is replaced: each bar lets
as many instances act as its volume says, in turn, which enter when they are out and leave when they are in. Says when
all instances are warm; at its end tells when which bar's orders were committed and written to the socket.
"""

import asyncio
import signal
import sys
import time
from decimal import Decimal

import django

django.setup()

import numpy as np  # noqa: E402  # models can be imported only now

from tests.bench import probes  # noqa: E402
from tests.bench.children import say  # noqa: E402
from trading.engine.committer import Committer, WriteSet  # noqa: E402
from trading.engine.engine import Engine  # noqa: E402
from trading.models import OrderAttempt, Signal  # noqa: E402
from trading.strategies import ema_cross  # noqa: E402
from trading.strategies.contract import ENTER, EXIT, BarWindow, Evaluation  # noqa: E402

# A sale leaves less than a lot.
_DUST = Decimal("0.0001")


def act_on_every_bar(engine: Engine) -> None:
    evaluate = ema_cross.Batch.on_bar

    def on_bar(self: ema_cross.Batch, bars: BarWindow) -> Evaluation:
        evaluation = evaluate(self, bars)
        actions = np.zeros_like(evaluation.actions)
        first = int(bars.opened_ms[-1]) // 1000 * int(bars.volume[-1])
        for number in range(first, first + int(bars.volume[-1])):
            actions[number % len(actions)] = EXIT if _holds(engine, number % len(actions)) else ENTER
        return Evaluation(actions, evaluation.seen)

    ema_cross.Batch.on_bar = on_bar  # type: ignore[method-assign]


def _holds(engine: Engine, number: int) -> bool:
    """Whether the batch's instance of this number is in; there is one batch."""
    (chart,) = engine.market._charts.values()
    member = chart.groups[0].members[number]
    held: Decimal = engine.tenants[member.user_id].state.instances[member.instance_id].held_quantity
    return held > _DUST


def watch_commits() -> list[tuple[str, int, str]]:
    """From now on, of each order: the event key, when it was known to be durable, its client id."""
    committed: list[tuple[str, int, str]] = []
    commit = Committer.commit

    async def stamped(self: Committer, writes: WriteSet) -> None:
        await commit(self, writes)
        done = time.time_ns()
        attempts = [row for row in writes.creates if isinstance(row, OrderAttempt)]
        for row in writes.creates:
            if isinstance(row, Signal) and attempts:
                committed.append((row.event_key, done, attempts[0].client_order_id))

    Committer.commit = stamped  # type: ignore[method-assign]
    return committed


def _is_warm(engine: Engine, instances: int) -> bool:
    charts = list(engine.market._charts.values())
    members = sum(len(group.members) for chart in charts for group in chart.groups)
    accounts = [account for tenant in engine.tenants.values() for account in tenant.state.accounts.values()]
    return members == instances and all(chart.seeded for chart in charts) and all(a.entries_open for a in accounts)


async def main(instances: int) -> None:
    engine = Engine()
    act_on_every_bar(engine)
    committed, written = watch_commits(), probes.watch_orders_written()
    running = asyncio.create_task(engine.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, engine.desk.keeper.draining.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: say(engine.desk.figures["fills"]))
    while not _is_warm(engine, instances):  # nobody sets an event when it is
        await asyncio.sleep(0.05)
    say({"ready": True})
    await running
    say([(key.rpartition(":")[2], done, written.get(client_id)) for key, done, client_id in committed])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
