"""A simulator in this process, on a free port, for tests here and elsewhere.

    async with running_simulator(symbols=("BTCUSDT",)) as sim:
        alice = await sim.create_account("alice", USDT="10000")
        answer = await sim.signed(alice, "POST", "/api/v3/order", symbol="BTCUSDT", …)

The market stands still unless `speed` says otherwise: then every price a test sees is the one it saw before.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from connections.simulator.control import TOKEN_HEADER
from connections.simulator.server import Settings, SimulatorServer

STILL = 1e-9


@dataclass(frozen=True, slots=True)
class Keys:
    """An account's credentials."""

    api_key: str
    api_secret: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request got."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """The error code, 0 without one."""
        code: int = self.body.get("code", 0) if isinstance(self.body, dict) else 0
        return code


def hmac_sha256(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class RunningSimulator:
    """A simulator and one client of it."""

    def __init__(self, server: SimulatorServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.rest_url = server.rest_url
        self.stream_url = server.stream_url
        self.ws_api_url = server.ws_api_url
        self.control_url = server.control_url
        self.control_token = server.settings.control_token

    def now_ms(self) -> int:
        return self.server.exchange.now_ms()

    # control

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A control request; fails the test when it is refused."""
        headers = {TOKEN_HEADER: self.control_token}
        async with self.session.request(method, self.control_url + path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def create_account(
        self, name: str, *, permissions: dict[str, bool] | None = None, exchange: str = "binance_spot", **balances: str
    ) -> Keys:
        """An account called `name` that owns the given amounts."""
        keys = Keys(f"{name}-api-key-0000", f"{name}-secret")
        body = {"api_key": keys.api_key, "api_secret": keys.api_secret, "balances": balances, "exchange": exchange}
        await self.control("POST", "/accounts", {**body, "permissions": permissions or {}})
        return keys

    async def fault(self, kind: str, **limits: Any) -> None:
        await self.control("POST", "/faults", {"kind": kind, **limits})

    async def counters(self) -> Any:
        return await self.control("GET", "/counters")

    async def ledger(self, keys: Keys) -> Any:
        return (await self.control("GET", "/ledger"))["accounts"][keys.api_key]

    # Binance

    async def public(self, path: str, **params: Any) -> Answer:
        return await self.raw("GET", path, query=urlencode(params))

    async def signed(self, keys: Keys, method: str, path: str, **params: Any) -> Answer:
        """A signed request; POST sends its parameters as the body."""
        text = urlencode({"timestamp": self.now_ms(), **params})
        text += "&signature=" + hmac_sha256(keys.api_secret, text)
        query, body = ("", text) if method == "POST" else (text, "")
        return await self.raw(method, path, query=query, body=body, api_key=keys.api_key)

    async def order(self, keys: Keys, side: str, quantity: str, price: str | None = None, **more: Any) -> Answer:
        """A limit order at `price`, else a market order, on BTCUSDT."""
        limit = {"type": "LIMIT", "timeInForce": "GTC", "price": price} if price else {"type": "MARKET"}
        wanted = {"symbol": "BTCUSDT", "side": side, "quantity": quantity, **limit, **more}
        return await self.signed(keys, "POST", "/api/v3/order", **wanted)

    async def raw(
        self, method: str, path: str, *, query: str = "", body: str = "", api_key: str | None = None
    ) -> Answer:
        """A request exactly as given."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        if api_key is not None:
            headers["X-MBX-APIKEY"] = api_key
        url = self.rest_url + path + ("?" + query if query else "")
        async with self.session.request(method, url, data=body or None, headers=headers) as response:
            is_json = response.content_type == "application/json"
            content = await response.json() if is_json else await response.text()
            return Answer(response.status, content, dict(response.headers))

    def market_socket(self, *streams: str) -> Any:
        """A combined stream connection, as an async context manager."""
        return self.session.ws_connect(f"{self.stream_url}/stream?streams={'/'.join(streams)}")

    @asynccontextmanager
    async def user_socket(self, *owners: Keys) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket API connection that hears the events of all owners, numbered in their order."""
        async with self.session.ws_connect(self.ws_api_url) as socket:
            for keys in owners:
                answer = await self.call(socket, "userDataStream.subscribe.signature", keys)
                assert answer["status"] == 200, answer
            yield socket

    async def call(
        self, socket: aiohttp.ClientWebSocketResponse, method: str, keys: Keys | None = None, **params: Any
    ) -> Any:
        """A WebSocket API request, signed if keys are given; its answer."""
        if keys is not None:
            params |= {"apiKey": keys.api_key, "timestamp": self.now_ms()}
            text = "&".join(f"{name}={params[name]}" for name in sorted(params))
            params["signature"] = hmac_sha256(keys.api_secret, text)
        await socket.send_json({"id": method, "method": method, "params": params})
        return await socket.receive_json(timeout=5)


@asynccontextmanager
async def running_simulator(**settings: Any) -> AsyncIterator[RunningSimulator]:
    """A simulator until the block ends; `settings` are those of `Settings`."""
    chosen = {"symbols": ("BTCUSDT", "ETHUSDT"), "speed": STILL, **settings}
    async with SimulatorServer(Settings(**chosen)) as server, aiohttp.ClientSession() as session:
        yield RunningSimulator(server, session)
