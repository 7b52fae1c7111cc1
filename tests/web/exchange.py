"""A simulated exchange in a thread of its own, for tests that aren't asynchronous."""

import asyncio
import threading

from connections.gateways import Credentials
from connections.simulator.control import AccountSpec
from connections.simulator.server import Settings, SimulatorServer

ALICE_KEY = Credentials("alice-planted-key-5d1c77", "alice-planted-secret-90aa31")
ALICE_NEW_KEY = Credentials("alice-planted-newkey-8f02", "alice-planted-newsecret-44e")
BOB_KEY = Credentials("bob-planted-key-77be01", "bob-planted-secret-12cc9f")
WITHDRAWING_KEY = Credentials("withdraw-planted-key-3311", "withdraw-planted-secret-7744")
RESTRICTED_KEY = Credentials("restricted-planted-key-9917", "restricted-planted-secret-2460")
READ_ONLY_KEY = Credentials("reading-planted-key-6622", "reading-planted-secret-8855")
PLANTED = (ALICE_KEY, ALICE_NEW_KEY, BOB_KEY, WITHDRAWING_KEY, READ_ONLY_KEY, RESTRICTED_KEY)


def _account(key: Credentials, **permissions: bool) -> AccountSpec:
    return AccountSpec(
        key.api_key, key.api_secret, balances={"USDT": "100000", "BTC": "5"}, permissions=permissions
    )


class ThreadedExchange:
    """``with ThreadedExchange() as exchange: exchange.url …``."""

    def __init__(self) -> None:
        accounts = (
            _account(ALICE_KEY), _account(ALICE_NEW_KEY), _account(BOB_KEY),
            _account(WITHDRAWING_KEY, can_withdraw=True), _account(READ_ONLY_KEY, can_trade=False),
            _account(RESTRICTED_KEY, ip_restricted=True),
        )
        self.server = SimulatorServer(Settings(symbols=("BTCUSDT",), accounts=accounts))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="exchange", daemon=True)

    @property
    def url(self) -> str:
        return self.server.rest_url

    def __enter__(self) -> "ThreadedExchange":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(20)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
