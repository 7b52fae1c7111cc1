"""What the conformance suite must know of Tram."""

from decimal import Decimal
from typing import ClassVar

from connections.exchanges.network import Network
from connections.simulator.server import SimulatorServer
from tests.conformance.exchange_cases import Case
from tests.fifth_exchange.front import MARKET, TramFront


class TramCase(Case):
    slug = "tram"
    symbol, spelling, quote = "BTC/EUR", MARKET.symbol, "EUR"
    order_path, account_path, info_path = "/v1/orders", "/v1/wallet", "/v1/markets"
    too_much, too_much_code, off_step_code = "100", "NO_MONEY", "BAD_SIZE"
    money: ClassVar = {"EUR": "1000000", "BTC": "10"}
    resting_price, locked_by_resting = Decimal(40_000), Decimal(400)
    too_little, too_little_code, balance_field = "0.0001", "TOO_LITTLE", "free"
    streams_candles = False
    fronts = (TramFront,)

    def __init__(self, simulator: SimulatorServer, network: Network) -> None:
        (front,) = (found for found in simulator.more if isinstance(found, TramFront))
        super().__init__(simulator, front, front.exchange, network)


CASE = TramCase
