"""An engine is killed in the middle of trading: another takes over, and nothing is lost or sent twice."""

import os
import signal
from collections.abc import Callable

from accounts.tenancy import SHARDS
from tests.system.installation import QUICK, Installation

TAKE_OVER_SECONDS = 15.0
# A whole cluster has to be started anew, which takes as long as Python needs on a busy machine.
RESTART_SECONDS = 45.0

StartTrading = Callable[..., Installation]


def _assert_trading_goes_on_without(
    installation: Installation, engine: int, seconds: float = TAKE_OVER_SECONDS
) -> None:
    installation.wait_until(
        lambda: installation.shards_held_by_others(engine) == SHARDS, "all shards taken over", seconds
    )
    installation.wait_for_trades(6)
    installation.stop().assert_nothing_differs()


def test_another_engine_takes_over_when_one_is_killed(start_trading: StartTrading) -> None:
    installation = start_trading()
    engine = installation.engine()
    os.kill(engine, signal.SIGKILL)
    _assert_trading_goes_on_without(installation, engine)


def test_no_order_is_doubled_when_it_dies_before_the_answer_is_booked(installation: Installation) -> None:
    """The worst moment of all; tests/trading/engine/test_failpoints.py goes through every other one."""
    installation.start(environment={**QUICK, "DES_FAILPOINT": "after_send:kill"})
    marker = installation.folder / "failpoint-fired"
    installation.wait_until(marker.exists, "an engine died after a send")
    _assert_trading_goes_on_without(installation, int(marker.read_text().split()[1]))


def test_everything_of_the_cluster_is_killed_at_once(start_trading: StartTrading) -> None:
    installation = start_trading()
    engine = installation.engine()
    os.killpg(os.getpgid(engine), signal.SIGKILL)
    _assert_trading_goes_on_without(installation, engine, RESTART_SECONDS)
