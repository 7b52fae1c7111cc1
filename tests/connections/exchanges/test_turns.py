"""A request's turn at the exchange holds for a moment only: who stands still between its turn and its first byte waits
for another one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from connections.exchanges import upbit
from connections.exchanges.budgets import VenueBudgets
from connections.exchanges.call import Call, Purpose
from connections.exchanges.krw.venue import read_krw
from connections.exchanges.network import Network, Request
from connections.gateways import Credentials, OutOfBudget
from desproject.lib.clock import ManualClock
from tests.connections.exchanges.test_network import server

UPBIT = read_krw((Path(upbit.__file__).parent / "api.toml").read_text(encoding="utf-8"))
KEY = Credentials("key", "secret", tenant="alice")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.usefixtures("redis_server")
async def test_what_was_granted_before_the_process_stood_still_is_had_again(clock: ManualClock) -> None:
    """Upbit lets an account place eight orders a second: two turns may not be used at once."""
    budgets = VenueBudgets(UPBIT, "upbit:simulator", "https://upbit.example", Network(clock))
    sender = budgets.sender(KEY)
    figures = sender.budgets["order"]._figures
    in_turn = await budgets.spend(Call("POST", UPBIT.paths.place, Purpose.PLACE, sender))
    await in_turn()
    assert figures == {"used": 1, "requests": 1}, "still in its turn"

    clock.advance(0.5)
    await in_turn()

    assert figures == {"used": 2, "requests": 2, "stale": 1}
    await sender.aclose()


async def test_nothing_is_written_where_no_other_turn_comes() -> None:
    async def no_turn() -> None:
        raise OutOfBudget("too much is asked")

    network = Network()
    async with server(None) as (url, heard):
        request = Request("POST", f"{url}/orders", {}, 5.0, None, b'{"market":"KRW-BTC"}', no_turn)
        with pytest.raises(OutOfBudget):
            await network.send(request)
        assert b"KRW-BTC" not in heard()
    await network.aclose()
