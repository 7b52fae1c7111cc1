"""An engine is frozen between commit and send, past its lease, and wakes up when others have long gone on. The other
points, and what happens without the fencing, are tried by tests/trading/engine/test_failpoints.py."""

import os
import signal

from accounts.tenancy import SHARDS
from tests.system.installation import QUICK, Installation

# Two engines: while one is frozen the other takes over.
_FREEZE = {**QUICK, "ENGINE_PROCESSES": "2", "DES_FAILPOINT": "before_send:stop"}
_GIVEN_UP = (
    "SELECT client_order_id FROM orders WHERE status = 'expired' AND exchange_order_id = '' AND client_order_id <> ''"
)


def test_what_it_had_committed_is_not_sent_late(installation: Installation) -> None:
    installation.start(environment=_FREEZE)
    marker = installation.folder / "failpoint-fired"
    installation.wait_until(marker.exists, "an engine froze")
    frozen = int(marker.read_text().split()[1])
    installation.wait_until(
        lambda: installation.shards_held_by_others(frozen) == SHARDS, "the other engine took over", 20
    )
    installation.wait_until(lambda: bool(installation.query(_GIVEN_UP)), "the unsent order was given up", 30)
    given_up = [client_id for (client_id,) in installation.query(_GIVEN_UP)]
    os.kill(frozen, signal.SIGCONT)
    installation.wait_for_trades(6)
    assert {installation.times_received(client_id) for client_id in given_up} == {0}
    installation.stop().assert_nothing_differs()
