"""What Upbit alone does: it says how many requests of a second are left."""

import pytest

from connections.exchanges.krw.gateway import KrwGateway
from connections.simulator.accounts import Account
from connections.simulator.server import SimulatorServer
from tests.connections.conftest import deadline
from tests.connections.exchanges.krw.conftest import account, gateway, limit_order, won

__all__ = ["account", "gateway", "won"]


@pytest.fixture
def name() -> str:
    return "upbit"


async def test_the_orders_of_a_second_are_counted_and_the_one_too_many_waits(
    gateway: KrwGateway, won: SimulatorServer, account: Account
) -> None:
    """As fast as they are let out: eight a second are allowed."""
    for number in range(14):
        await gateway.place_order(limit_order(f"order-{number}"), deadline())

    assert len(account.orders) == len(account.received) == 14, "the exchange refused none"


async def test_what_the_exchange_says_is_left_is_believed(
    gateway: KrwGateway, won: SimulatorServer, account: Account
) -> None:
    """Somebody else trades with the same account: what it has used up isn't there for us."""
    limiter = won.won["upbit"]._limiter
    await gateway.rules("BTC/KRW")
    for _ in range(7):
        limiter.spend("order", account.api_key, won.won["upbit"].exchange.now_ms())

    await gateway.place_order(limit_order("order-1"), deadline())
    await gateway.place_order(limit_order("order-2"), deadline())

    assert len(account.orders) == len(account.received) == 2, "the exchange refused none"
