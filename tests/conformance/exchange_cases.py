"""A case for each venue: its symbol, its paths at the simulated exchange, and what it calls the same refusals.

An exchange that isn't DES's brings its own: FIFTH_EXCHANGE in the environment names the package of a folder with the
venue in `exchanges/`, and with a `case.py` (tests/fifth_exchange).
"""

import importlib
import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import connections.exchanges
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Credentials, Gateway, OrderRequest, OrderType, Side
from connections.simulator.binance_spot.front import BinanceSpot
from connections.simulator.binance_usdm.front import BinanceUsdm
from connections.simulator.control import AccountSpec
from connections.simulator.exchange import Exchange
from connections.simulator.instruments import Instrument
from connections.simulator.krw.front import KrwFront
from connections.simulator.matching import Side as SimSide
from connections.simulator.server import SimulatorServer, VenueFront
from tests.connections.conftest import BOB_KEY, KEY

AnyFront = BinanceSpot | BinanceUsdm | KrwFront | VenueFront
FOLDER = "FIFTH_EXCHANGE"


class Case:
    """One venue against one simulator."""

    slug: ClassVar[str]
    symbol: str
    spelling = "BTCUSDT"
    # Where orders are placed; looked up and cancelled too, unless said.
    order_path: str
    cancel_path = ""
    account_path: str
    info_path: str
    # How much nobody here can pay for at the resting price, and the exchange's code for that.
    too_much: str
    too_much_code: str
    off_step_code: str
    # How little isn't taken at the resting price, and the exchange's code for that.
    too_little: str
    too_little_code: str
    # A field without which balances can't be read.
    balance_field: str
    money: ClassVar = {"USDT": "1000000", "BTC": "10"}
    quote = "USDT"
    # Far below the market, and what an order there locks.
    resting_price = Decimal(50_000)
    locked_by_resting: Decimal
    off_step_quantity = "0.0100001"
    # What makes the exchange's front, where it isn't one of the simulator's own four.
    fronts: ClassVar[tuple[Callable[[SimulatorServer], VenueFront], ...]] = ()
    # What the exchange tells of itself: its filters, who made and who took, candles in which nothing was traded, and
    # candles in the stream.
    tells_filters = tells_liquidity = tells_empty_candles = streams_candles = True

    def __init__(self, simulator: SimulatorServer, front: AnyFront, exchange: Exchange, network: Network) -> None:
        for key in (KEY, BOB_KEY):
            simulator.control.create_account(
                AccountSpec(key.api_key, key.api_secret, balances=dict(self.money), exchange=self.slug)
            )
        self.front = front
        self.exchange = exchange
        self._network = network

    @property
    def instrument(self) -> Instrument:
        return self.exchange.markets[self.spelling].instrument

    def gateway(self, credentials: Credentials) -> Gateway:
        return venue(self.slug).gateway(credentials, "simulator", self._network)

    def best(self, side: SimSide) -> Decimal:
        """The best bid or ask."""
        found = self.exchange.markets[self.spelling].book.best(side)
        assert found is not None
        return found[0]

    def fund(self) -> None:
        """Funding is due."""
        assert isinstance(self.front, BinanceUsdm)
        self.front.fund(self.spelling)

    def market_order(
        self, client_order_id: str = "order-1", quantity: str = "0.01", side: Side = Side.BUY
    ) -> OrderRequest:
        return OrderRequest(client_order_id, self.symbol, side, OrderType.MARKET, Decimal(quantity))

    def limit_order(
        self, price: Decimal, client_order_id: str = "order-1", quantity: str = "0.01", side: Side = Side.BUY
    ) -> OrderRequest:
        return OrderRequest(client_order_id, self.symbol, side, OrderType.LIMIT, Decimal(quantity), price=price)

    def resting_order(self, client_order_id: str = "order-1") -> OrderRequest:
        """Far from the market."""
        return self.limit_order(self.resting_price, client_order_id)


class SpotCase(Case):
    slug = "binance_spot"
    symbol = "BTC/USDT"
    order_path, account_path, info_path = "/api/v3/order", "/api/v3/account", "/api/v3/exchangeInfo"
    too_much, too_much_code, off_step_code = "100", "-2010", "-1013"
    locked_by_resting = Decimal(500)
    too_little, too_little_code, balance_field = "0.00001", "-1013", "free"

    def __init__(self, simulator: SimulatorServer, network: Network) -> None:
        super().__init__(simulator, simulator.spot, simulator.exchange, network)


class UsdmCase(Case):
    slug = "binance_usdm"
    symbol = "BTC/USDT:USDT"
    order_path, account_path, info_path = "/fapi/v1/order", "/fapi/v3/account", "/fapi/v1/exchangeInfo"
    too_much, too_much_code, off_step_code = "500", "-2019", "-1111"
    money: ClassVar = {"USDT": "1000000"}
    # A twentieth: the leverage of a fresh account.
    locked_by_resting = Decimal(25)
    too_little, too_little_code, balance_field = "0.001", "-4164", "walletBalance"

    def __init__(self, simulator: SimulatorServer, network: Network) -> None:
        super().__init__(simulator, simulator.usdm, simulator.usdm.exchange, network)


class WonCase(Case):
    """Upbit and Bithumb. Their filters are in their documents, so ours are tested beside the adapters."""

    symbol, spelling, quote = "BTC/KRW", "KRW-BTC", "KRW"
    account_path, info_path = "/v1/accounts", "/v1/market/all"
    resting_price, off_step_quantity = Decimal(50_000_000), "0.010000001"
    too_much, too_much_code, off_step_code = "10", "insufficient_funds_bid", "validation_error"
    money: ClassVar = {"KRW": "100000000", "BTC": "10"}
    # With the fee, which comes on top in won.
    locked_by_resting = Decimal(500_500)
    too_little, too_little_code, balance_field = "0.00001", "under_min_total_bid", "balance"
    tells_filters = tells_liquidity = tells_empty_candles = False

    def __init__(self, simulator: SimulatorServer, network: Network) -> None:
        front = simulator.won[self.slug]
        super().__init__(simulator, front, front.exchange, network)


class UpbitCase(WonCase):
    slug, order_path, cancel_path = "upbit", "/v1/orders", "/v1/order"


class BithumbCase(WonCase):
    slug, order_path = "bithumb", "/v2/order"
    streams_candles = False


def _from_elsewhere() -> list[Any]:
    """The case of the folder that the environment names, whose venue is found like the others from then on."""
    name = os.environ.get(FOLDER)
    if name is None:
        return []
    (folder,) = importlib.import_module(name).__path__
    connections.exchanges.__path__.append(os.path.join(folder, "exchanges"))
    return [importlib.import_module(f"{name}.case").CASE]


_KINDS = [SpotCase, UsdmCase, UpbitCase, BithumbCase, *_from_elsewhere()]
CASES: dict[str, Callable[[SimulatorServer, Network], Case]] = {kind.slug: kind for kind in _KINDS}
MORE_VENUES: tuple[Callable[[SimulatorServer], VenueFront], ...] = tuple(
    front for kind in _KINDS for front in kind.fronts
)
