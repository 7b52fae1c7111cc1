"""What every venue must be, whichever are there."""

import pytest

from connections.exchanges import Venue, venue, venues
from connections.exchanges.network import Network
from connections.gateways import Credentials
from connections.simulator.server import SimulatorServer
from desproject.lib.errors import InvalidInput

EVERY = sorted(venues())
METHODS = (
    "permissions", "rules", "place_order", "cancel_order", "order", "open_orders", "fills", "account", "candles",
    "aclose",
)  # fmt: skip


@pytest.fixture(params=EVERY)
def found(request: pytest.FixtureRequest) -> Venue:
    return venue(request.param)


def test_binance_spot_is_there() -> None:
    assert "binance_spot" in EVERY


def test_an_unknown_venue_is_refused_by_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        venue("mtgox")

    assert "exchange" in caught.value.fields


def test_it_says_what_it_is_and_can(found: Venue) -> None:
    assert found.title
    assert "live" in found.modes
    assert {"1m", "1h"} <= set(found.timeframes)
    assert found.capabilities.streams_per_market_socket > 0


def test_the_simulator_is_offered_only_where_it_is_set_up(found: Venue, simulator: SimulatorServer) -> None:
    assert "simulator" in found.modes


def test_without_a_simulator_it_isnt_offered(found: Venue) -> None:
    assert "simulator" not in found.modes
    with pytest.raises(InvalidInput):
        found.gateway(Credentials("k", "s"), "simulator", Network())


@pytest.mark.parametrize("mode", ["paper", "nonsense", ""])
def test_a_mode_that_isnt_there_is_refused(found: Venue, mode: str) -> None:
    with pytest.raises(InvalidInput):
        found.gateway(Credentials("k", "s"), mode, Network())


def test_its_gateway_has_every_method(found: Venue) -> None:
    gateway = found.gateway(Credentials("k", "planted-secret"), "live", Network())

    assert all(callable(getattr(gateway, name)) for name in METHODS)
    assert "planted-secret" not in repr(vars(gateway))


def test_a_process_has_one_public_object_a_mode(found: Venue) -> None:
    network = Network()

    assert found.public("live", network) is found.public("live", network)
    assert found.public("live", network) is not found.public("live", Network())
