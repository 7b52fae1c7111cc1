"""The simulated exchange in a process of its own, its limits raised: a benchmark measures us, not its budgets."""

import os
from typing import Any

import aiohttp

from connections.simulator.control import TOKEN_HEADER
from tests.bench.children import Child
from tests.connections.simulator.server import Keys

LIMITS = "simulator's request weight and order limits raised to 1e9, 10,000 orders a second a connection"
_NONE = "1000000000"


class Simulator(Child):
    """``manage.py simexchange`` with one symbol; its market moves at its usual speed."""

    def __init__(self) -> None:
        super().__init__(
            "manage.py", "simexchange", "--symbols", "BTCUSDT", "--weight-limit", _NONE, "--order-limit", _NONE
        )
        self.told = self.ready()
        self.rest_url: str = self.told["rest"]
        os.environ["SIMULATOR_URL"] = self.rest_url
        os.environ["EXCHANGE_LIMITS_FACTOR"] = "100000"

    async def create_account(self, session: aiohttp.ClientSession, name: str, **balances: str) -> Keys:
        keys = Keys(f"{name}-api-key-0000", f"{name}-secret")
        body = {"api_key": keys.api_key, "api_secret": keys.api_secret, "balances": balances}
        headers = {TOKEN_HEADER: self.told["control_token"]}
        async with session.post(f"{self.told['control']}/accounts", json=body, headers=headers) as answer:
            answer.raise_for_status()
        return keys

    async def best(self, session: aiohttp.ClientSession) -> Any:
        """Its best prices."""
        url = f"{self.rest_url}/api/v3/ticker/bookTicker?symbol=BTCUSDT"
        async with session.get(url) as answer:
            return await answer.json()
