"""A user at her API, with a real engine and real streams between her and a simulated exchange."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.streaming.host import StreamHost
from tests.connections.simulator.server import RunningSimulator, running_simulator
from tests.trading.engine.harness import until
from tests.web.conftest import access_token
from trading.engine.engine import Engine

KEY, SECRET = "alice-desk-key-0123456789", "alice-desk-secret-0123456789"


@dataclass(slots=True)
class Desk:
    """Alice at her API, with an account at the exchange."""

    user: User
    client: APIClient
    simulator: RunningSimulator
    connection: str
    # What an order is unless it says otherwise.
    usual: dict[str, Any] = field(default_factory=dict)

    async def post(self, path: str, **body: Any) -> Any:
        return await database.run(_post, self.client, path, body)

    async def order(self, **wanted: Any) -> str:
        body = {"connection": self.connection, "side": "buy", "type": "market", "quantity": "0.01", **self.usual}
        made = await self.post("/api/orders", **{**body, **wanted})
        return str(made["id"])

    async def is_now(self, order_id: str, status: str) -> dict[str, Any]:
        """The order as the API tells it, once it has the status."""
        told: dict[str, Any] = {}

        async def is_so() -> bool:
            told.update(await database.run(get, self.client, f"/api/orders/{order_id}"))
            return bool(told["status"] == status)

        await until(is_so)
        return told

    async def rows(self, model: type) -> list[Any]:
        return await database.run(_rows, self.user, model)


def _post(client: APIClient, path: str, body: dict[str, Any]) -> Any:
    answer = client.post(path, body, format="json")
    assert answer.status_code in (200, 201, 202), answer.content
    return answer.json()


def get(client: APIClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return answer.json()


def put(client: APIClient, path: str, body: dict[str, Any]) -> Any:
    """The answer, whatever it is."""
    return client.put(path, body, format="json")


def delete(client: APIClient, path: str) -> None:
    answer = client.delete(path)
    assert answer.status_code in (202, 204), answer.content


def _rows(user: User, model: type) -> list[Any]:
    with tenant_scope(user.pk):
        return list(model.objects.all())  # type: ignore[attr-defined]


def _client(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access_token(user)}")
    return client


@asynccontextmanager
async def trading(
    user: User,
    exchange: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    account: dict[str, Any],
    usual: dict[str, Any],
    **simulated: Any,
) -> AsyncIterator[Desk]:
    """A still market, an engine, and streams, for a connection that was made by the API."""
    monkeypatch.setattr(settings.CONFIG, "sweep_seconds", 0.1)
    monkeypatch.setattr(settings.CONFIG, "lease_seconds", 3.0)
    # Waiting asks many times a second.
    monkeypatch.setattr(settings.CONFIG, "rate_limit_requests", 10_000)
    key = {"api_key": KEY, "api_secret": SECRET, "exchange": exchange}
    async with running_simulator(symbols=(), **simulated) as simulator:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", simulator.rest_url)
        await simulator.control("POST", "/accounts", {**key, **account})
        client = await database.run(_client, user)
        made = await database.run(_post, client, "/api/connections", {"name": "desk", "mode": "simulator", **key})
        engine, streams = Engine(), StreamHost(look_seconds=0.1)
        tasks = [asyncio.create_task(engine.run()), asyncio.create_task(streams.run())]
        try:
            yield Desk(user, client, simulator, made["id"], usual)
        finally:
            engine.desk.keeper.draining.set()
            streams.drain()
            await asyncio.gather(*tasks)
