"""A simulated exchange on a real socket, and what is needed to talk to it."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from django.conf import settings

from connections.exchanges import venue
from connections.exchanges.binance_spot.gateway import BinanceSpotGateway
from connections.exchanges.network import Network
from connections.gateways import Credentials, OrderRequest, OrderType, SendDeadline, Side
from connections.simulator.control import AccountSpec
from connections.simulator.faults import Fault, FaultKind
from connections.simulator.server import Settings, SimulatorServer
from desproject.lib.clock import SYSTEM_CLOCK

KEY = Credentials("alice-key-0123456789", "alice-secret-0123456789")
BOB_KEY = Credentials("bob-key-0123456789", "bob-secret-0123456789")
MONEY = {"USDT": "1000000", "BTC": "10", "ETH": "100"}


def account_of(credentials: Credentials) -> AccountSpec:
    return AccountSpec(credentials.api_key, credentials.api_secret, balances=dict(MONEY))


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorServer]:
    setup = Settings(symbols=("BTCUSDT", "ETHUSDT"), accounts=(account_of(KEY), account_of(BOB_KEY)))
    async with SimulatorServer(setup) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    shared = Network()
    yield shared
    await shared.aclose()


@pytest.fixture
def gateway(simulator: SimulatorServer, network: Network) -> BinanceSpotGateway:
    made = venue("binance_spot").gateway(KEY, "simulator", network)
    assert isinstance(made, BinanceSpotGateway)
    return made


def strike(simulator: SimulatorServer, kind: str, **details: object) -> None:
    """Sets a fault on the exchange."""
    simulator.control.add_fault(Fault(kind=FaultKind(kind), **details))  # type: ignore[arg-type]


def deadline(seconds: float = 3) -> SendDeadline:
    return SendDeadline(SYSTEM_CLOCK.monotonic() + seconds)


def market_order(client_order_id: str = "order-1", quantity: str = "0.01", side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(client_order_id, "BTC/USDT", side, OrderType.MARKET, Decimal(quantity))


def resting_order(client_order_id: str = "order-1", price: str = "50000") -> OrderRequest:
    return OrderRequest(client_order_id, "BTC/USDT", Side.BUY, OrderType.LIMIT, Decimal("0.01"), price=Decimal(price))
