"""A simulator that serves the won exchanges, and an account at each of them."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from django.conf import settings

from connections.exchanges import venue
from connections.exchanges.krw.gateway import KrwGateway
from connections.exchanges.network import Network
from connections.gateways import Credentials, OrderRequest, OrderType, Side
from connections.simulator.accounts import Account
from connections.simulator.control import AccountSpec
from connections.simulator.server import Settings, SimulatorServer

WON_VENUES = ("upbit", "bithumb")
MONEY = {"KRW": "100000000", "BTC": "2"}


def key_at(name: str) -> Credentials:
    return Credentials(f"alice-{name}-key-0123456789", f"alice-{name}-secret-0123456789")


@pytest.fixture(params=WON_VENUES)
def name(request: pytest.FixtureRequest) -> str:
    """The venue's slug."""
    found: str = request.param
    return found


@pytest.fixture
async def won(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorServer]:
    accounts = tuple(
        AccountSpec(key_at(each).api_key, key_at(each).api_secret, balances=dict(MONEY), exchange=each)
        for each in WON_VENUES
    )
    # The market stands still: every price that a test sees is the one that it saw before.
    async with SimulatorServer(Settings(symbols=(), speed=1e-9, won_markets=("KRW-BTC",), accounts=accounts)) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


@pytest.fixture
def gateway(won: SimulatorServer, network: Network, name: str) -> KrwGateway:
    made = venue(name).gateway(key_at(name), "simulator", network)
    assert isinstance(made, KrwGateway)
    return made


@pytest.fixture
def account(won: SimulatorServer, name: str) -> Account:
    """The account as the exchange has it."""
    return won.won[name].exchange.bank.get(key_at(name).api_key)


def market_order(client_order_id: str = "order-1", quantity: str = "0.01", side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(client_order_id, "BTC/KRW", side, OrderType.MARKET, Decimal(quantity))


def limit_order(client_order_id: str = "order-1", price: str = "50000000", side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(client_order_id, "BTC/KRW", side, OrderType.LIMIT, Decimal("0.01"), price=Decimal(price))
