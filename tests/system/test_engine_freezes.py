"""An engine is frozen between commit and send, past its lease, and wakes up when others have long gone on."""

import os
import signal

import pytest

from accounts.tenancy import SHARDS
from tests.system.installation import QUICK, Installation

# Two engines: while one is frozen the other takes over.
_FREEZE = {**QUICK, "ENGINE_PROCESSES": "2", "DES_FAILPOINT": "before_send:stop"}
_UNFENCED = {**_FREEZE, "DJANGO_SETTINGS_MODULE": "tests.system.unfenced.settings"}
_GIVEN_UP = (
    "SELECT client_order_id FROM orders WHERE status = 'expired' AND exchange_order_id = '' AND client_order_id <> ''"
)


def _times_received_after_waking(installation: Installation) -> list[int]:
    """Freezes an engine that has just committed an order, lets the other one give the order up, wakes the first.

    Returns how often the exchange received each order that was given up as never sent.
    """
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
    return [installation.times_received(client_id) for client_id in given_up]


def test_what_it_had_committed_is_not_sent_late(installation: Installation) -> None:
    installation.start(environment=_FREEZE)
    received = _times_received_after_waking(installation)
    assert received
    assert set(received) == {0}
    installation.stop().assert_nothing_differs()


def test_without_fencing_the_same_run_sends_it_late(installation: Installation) -> None:
    installation.start(environment=_UNFENCED)
    assert set(_times_received_after_waking(installation)) == {1}


@pytest.mark.database("postgresql", reason="SQLite has one writer: who freezes in it freezes all")
def test_one_frozen_inside_a_transaction_is_put_out_of_it(installation: Installation) -> None:
    installation.start(environment={**_FREEZE, "DES_FAILPOINT": "before_commit:stop"})
    marker = installation.folder / "failpoint-fired"
    installation.wait_until(marker.exists, "an engine froze")
    frozen = int(marker.read_text().split()[1])
    installation.wait_until(
        lambda: installation.shards_held_by_others(frozen) == SHARDS, "the other engine took over", 30
    )
    os.kill(frozen, signal.SIGCONT)
    installation.wait_for_trades(6)
    installation.stop().assert_nothing_differs()
