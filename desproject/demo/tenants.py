"""Alice and Bob: users made through the real HTTP API, as anybody's program would do it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp

from desproject.demo.exchange import Exchange

# A database or Redis that is restarted is back after some seconds.
_PATIENCE_SECONDS = 45.0
_MONEY = {"USDT": "50000", "BTC": "0", "ETH": "0"}


class ApiFailed(Exception):
    """DES answered something else than expected; the text holds status and body."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One strategy instance to be made. What it trades, and how."""

    strategy: str
    symbol: str
    params: Mapping[str, Any]


@dataclass(slots=True)
class Tenant:
    """A user of the demonstration: connection id to API key at the exchange, and the instances' ids."""

    email: str
    password: str = field(repr=False)
    id: UUID
    token: str = field(repr=False)
    refresh: str = field(repr=False)
    keys: dict[UUID, str] = field(default_factory=dict, repr=False)
    instances: list[str] = field(default_factory=list)


def plans(symbols: tuple[str, str]) -> tuple[Plan, Plan]:
    """Two strategies quick enough to trade within seconds: they also look at quotes, between the bars."""
    rsi = {"period": 2, "oversold": 49, "overbought": 51, "evaluate_on": "quote"}
    cross = {"fast": 2, "slow": 3, "average": "sma", "evaluate_on": "quote"}
    return Plan("rsi", symbols[0], rsi), Plan("ema_cross", symbols[1], cross)


class Api:
    """DES's own API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = ""
    ) -> dict[str, Any]:
        """One request, asked again while the server says that it can't answer now.

        Raises ApiFailed for an answer that isn't 2xx.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while (told := await self._once(method, path, body, token)) is None:
            if time.monotonic() > end:
                raise ApiFailed(f"{method} {path} wasn't available for {_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(1)
        return told

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None, token: str) -> dict[str, Any] | None:
        """The answer, None for 503."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._session.request(method, f"{self._url}{path}", json=body, headers=headers) as answer:
                if answer.status == 503:
                    return None
                if answer.status // 100 != 2:
                    raise ApiFailed(f"{method} {path} answered {answer.status}: {await answer.text()}")
                told: dict[str, Any] = await answer.json() if answer.status != 204 else {}
                return told
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiFailed(f"{method} {path} wasn't answered: {error}") from None

    async def create_tenant(self, email: str, password: str, exchange: Exchange, wanted: tuple[Plan, ...]) -> Tenant:
        """A new user with a connection and a running strategy for each plan."""
        told = await self.call("POST", "/api/register", {"email": email, "password": password})
        tenant = Tenant(email, password, UUID(told["user"]["id"]), told["token"], told["refresh"])
        for number, plan in enumerate(wanted, 1):
            connection = await self._connect(tenant, f"Account {number}", exchange)
            await self._start(tenant, connection, plan)
        return tenant

    async def stop_strategies(self, tenant: Tenant) -> None:
        """Ends the tenant's trading; what is held stays."""
        await self._renew(tenant)
        for instance in tenant.instances:
            await self.call("POST", f"/api/strategy-instances/{instance}/stop", token=tenant.token)

    async def _renew(self, tenant: Tenant) -> None:
        told = await self.call("POST", "/api/token/refresh", {"refresh": tenant.refresh})
        tenant.token, tenant.refresh = told["token"], told["refresh"]

    async def _connect(self, tenant: Tenant, name: str, exchange: Exchange) -> UUID:
        account = await exchange.create_account(_MONEY)
        body = {
            "name": name, "exchange": "binance_spot", "mode": "simulator",
            "api_key": account.key, "api_secret": account.secret,
        }  # fmt: skip
        told = await self.call("POST", "/api/connections", body, token=tenant.token)
        connection = UUID(told["id"])
        tenant.keys[connection] = account.key
        return connection

    async def _start(self, tenant: Tenant, connection: UUID, plan: Plan) -> None:
        body = {
            "name": f"{plan.strategy} {plan.symbol}", "strategy": plan.strategy, "connection": str(connection),
            "symbol": plan.symbol, "timeframe": "1s", "params": dict(plan.params),
            "sizing": {"type": "quote_amount", "amount": "500"},
        }  # fmt: skip
        told = await self.call("POST", "/api/strategy-instances", body, token=tenant.token)
        await self.call("POST", f"/api/strategy-instances/{told['id']}/start", token=tenant.token)
        tenant.instances.append(told["id"])
