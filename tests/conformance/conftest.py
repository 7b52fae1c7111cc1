"""Each venue against a simulator whose market stands still. Suites that need a moving one make their own."""

from collections.abc import AsyncIterator

import pytest
from django.conf import settings

from connections.exchanges.network import Network
from connections.gateways import Gateway
from connections.simulator.server import Settings, SimulatorServer
from tests.conformance.exchange_cases import CASES, MORE_VENUES, Case
from tests.connections.conftest import KEY
from tests.connections.simulator.server import STILL


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorServer]:
    """A market that stands still: an order between bid and ask stays there."""
    setup = Settings(
        symbols=("BTCUSDT",), perpetuals=("BTCUSDT",), won_markets=("KRW-BTC",), venues=MORE_VENUES, speed=STILL
    )
    async with SimulatorServer(setup) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    shared = Network()
    yield shared
    await shared.aclose()


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, simulator: SimulatorServer, network: Network) -> Case:
    return CASES[request.param](simulator, network)


@pytest.fixture
def gateway(case: Case) -> Gateway:
    return case.gateway(KEY)
