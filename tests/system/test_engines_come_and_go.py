"""Three engines share the tenants; one is asked to go, one is killed, others come: nothing is lost or sent twice."""

import os
import signal

from accounts.tenancy import SHARDS
from tests.system.installation import QUICK, Installation

_THREE = {**QUICK, "ENGINE_PROCESSES": "3"}


def _holders(installation: Installation) -> dict[int, int]:
    """Shards by the pid of the engine that holds them."""
    rows = installation.query(
        "SELECT processes.pid, count(*) FROM leases JOIN processes ON leases.owner = processes.id "
        "WHERE leases.kind = 'shard' GROUP BY processes.pid"
    )
    return {int(pid): int(count) for pid, count in rows}


def _shared_by_three(installation: Installation) -> bool:
    """Every shard has a holder, and nobody holds more than a fair share and one."""
    held = _holders(installation)
    return len(held) == 3 and sum(held.values()) == SHARDS and max(held.values()) <= SHARDS // 3 + 1


def _owner_of_a_trader(installation: Installation) -> int:
    """The pid of an engine that places orders now: that of the newest attempt's shard."""
    return installation.count(
        "SELECT processes.pid FROM order_attempts "
        "JOIN leases ON leases.kind = 'shard' AND leases.key = CAST(order_attempts.shard AS varchar(8)) "
        "JOIN processes ON leases.owner = processes.id ORDER BY order_attempts.created_at DESC LIMIT 1"
    )


def test_engines_come_and_go_while_the_demo_trades(installation: Installation) -> None:
    installation.start(environment=_THREE)
    installation.wait_until(lambda: _shared_by_three(installation), "three engines share the shards")
    installation.wait_for_trades(4)

    leaving = _owner_of_a_trader(installation)
    installation.change(f"UPDATE processes SET draining = {installation.true} WHERE pid = {leaving}")  # noqa: S608  # our own figure
    installation.wait_until(lambda: leaving not in _holders(installation), "it handed everything over", 20)
    installation.wait_until(lambda: sum(_holders(installation).values()) == SHARDS, "others took it at once", 20)
    installation.wait_for_trades(4)

    killed = _owner_of_a_trader(installation)
    os.kill(killed, signal.SIGKILL)
    installation.wait_until(
        lambda: installation.shards_held_by_others(killed) == SHARDS, "the others took over what was its", 30
    )
    installation.wait_until(lambda: _shared_by_three(installation), "new ones came and got their share", 60)
    installation.wait_for_trades(4)
    installation.stop().assert_nothing_differs()
