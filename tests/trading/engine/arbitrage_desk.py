"""Alice at Upbit and Bithumb at once: two simulated accounts, real streams, a real engine, and prices put by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.simulator.matching import Side
from connections.simulator.server import SimulatorServer
from tests.trading.engine import api_desk
from tests.trading.engine.api_desk import KEY, Desk, get
from tests.trading.engine.harness import until
from trading.models import ArbitrageFire
from trading.serializers import FireSerializer

KEY_B, SECRET_B = "alice-other-key-0123456789", "alice-other-secret-0123456789"
MARKET = "KRW-BTC"
FEES = {"maker": "0.0005", "taker": "0.0005"}
FEE = Decimal("0.0005")
RICH = {"KRW": "1000000000", "BTC": "10"}
# By the first connection is bought where nothing else is said.
CHEAP, DEAR = 100_000_000, 101_000_000


def plant(server: SimulatorServer, venue: str, middle: int, size: str = "1", levels: int = 12) -> None:
    """The whole book of an exchange: levels of 1,000 won steps around a price."""
    exchange = server.won[venue].exchange
    exchange.clear(MARKET)
    rows = []
    for step in range(1, levels + 1):
        rows.append((Side.BUY, Decimal(middle - 1000 * step), Decimal(size)))
        rows.append((Side.SELL, Decimal(middle + 1000 * step), Decimal(size)))
    exchange.quote(MARKET, rows)


@dataclass(slots=True)
class PairDesk:
    """Both accounts, the instance between them, and the books of both exchanges."""

    desk: Desk
    second: str
    instance: str = ""

    def even(self) -> None:
        """The same price on both: nothing to win."""
        for venue in ("upbit", "bithumb"):
            plant(self.desk.simulator.server, venue, CHEAP)

    def uneven(self, size: str = "1") -> None:
        """Cheap at Upbit, one percent dearer at Bithumb."""
        plant(self.desk.simulator.server, "upbit", CHEAP, size)
        plant(self.desk.simulator.server, "bithumb", DEAR, size)

    async def create(self, **wanted: Any) -> str:
        body = {
            "name": "won arbitrage", "strategy": "arbitrage", "connection": self.desk.connection,
            "connection_b": self.second, "symbol": "BTC/KRW", "timeframe": "1m",
            "sizing": {"type": "base_amount", "amount": "0.01"}, **wanted,
        }  # fmt: skip
        body["params"] = {"fee_rate": 0.0005, "fee_rate_b": 0.0005, "pause_seconds": 0, **wanted.get("params", {})}
        self.instance = (await self.desk.post("/api/strategy-instances", **body))["id"]
        return self.instance

    async def start(self) -> None:
        await self.desk.post(f"/api/strategy-instances/{self.instance}/start")

    async def stop(self) -> None:
        await self.desk.post(f"/api/strategy-instances/{self.instance}/stop")

    async def told(self) -> dict[str, Any]:
        """The instance as the API tells it."""
        path = f"/api/strategy-instances/{self.instance}"
        return dict(await database.run(get, self.desk.client, path))

    async def fires(self) -> list[dict[str, Any]]:
        """All of them as the API would tell them, newest first."""
        return await database.run(_fires, self.desk.user)

    async def settled(self, count: int = 1, *, seconds: float = 15) -> list[dict[str, Any]]:
        """The fires, oldest first, once so many are settled."""
        found: list[dict[str, Any]] = []

        async def are_so() -> bool:
            found[:] = [fire for fire in await self.fires() if fire["status"] == "settled"]
            return len(found) >= count

        await until(are_so, seconds=seconds)
        return found[::-1]

    async def ledgers(self) -> list[dict[str, Any]]:
        accounts = (await self.desk.simulator.control("GET", "/ledger"))["accounts"]
        return [accounts[KEY], accounts[KEY_B]]

    async def held(self, asset: str) -> Decimal:
        """What both accounts hold of an asset, by the exchanges' own books."""
        return sum(
            (
                Decimal(amount)
                for ledger in await self.ledgers()
                for amount in ledger["balances"].get(asset, {}).values()
            ),
            Decimal(0),
        )


def _fires(user: User) -> list[dict[str, Any]]:
    with tenant_scope(user.pk):
        rows = ArbitrageFire.objects.order_by("-created_at").prefetch_related("legs__order")
        return [dict(row) for row in FireSerializer(rows, many=True).data]


@asynccontextmanager
async def arbitrage(
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    *,
    first: dict[str, str] | None = None,
    second: dict[str, str] | None = None,
) -> AsyncIterator[PairDesk]:
    """Even books and an instance that isn't started; amounts are those of Upbit and of Bithumb."""
    account = {"balances": first or RICH, "fees": FEES}
    desk_of = api_desk.trading(
        user, "upbit", monkeypatch, account=account, usual={"symbol": "BTC/KRW"}, won_markets=(MARKET,)
    )
    async with desk_of as desk:
        key = {"api_key": KEY_B, "api_secret": SECRET_B, "exchange": "bithumb"}
        await desk.simulator.control("POST", "/accounts", {**key, "balances": second or RICH, "fees": FEES})
        made = await desk.post("/api/connections", name="other", mode="simulator", **key)
        pair = PairDesk(desk, made["id"])
        pair.even()
        yield pair
