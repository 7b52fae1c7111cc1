"""An engine that tells since when it may trade for which tenant: for take_over.

    python -m tests.bench.heir_process

Says that it is ready when it runs, and when asked the tenants that it may trade for, each with the moment since when
(nanoseconds of the wall clock).
"""

import asyncio
import signal
import time

import django

django.setup()

from tests.bench.children import say  # noqa: E402  # models can be imported only now
from trading.engine.engine import Engine  # noqa: E402
from trading.engine.tenant import Tenant  # noqa: E402

_LOOK_SECONDS = 0.002


def _may_trade(tenant: Tenant) -> bool:
    accounts = tenant.state.accounts.values()
    return not tenant.closed and bool(accounts) and all(account.entries_open for account in accounts)


async def main() -> None:
    engine = Engine()
    since: dict[str, int] = {}
    running = asyncio.create_task(engine.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, engine.desk.keeper.draining.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: say(since))
    say({"ready": True})
    while not running.done():
        now = time.time_ns()
        since = {
            str(user_id): since.get(str(user_id), now)
            for user_id, tenant in engine.tenants.items()
            if _may_trade(tenant)
        }
        await asyncio.sleep(_LOOK_SECONDS)
    await running


if __name__ == "__main__":
    asyncio.run(main())
