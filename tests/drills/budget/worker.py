"""One process of the budget drill: tenants that ask one exchange for all they can get, and now and then cancel.

Reads its task as JSON from standard input, prints what its tenants got as JSON when the time is over.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "desproject.settings")
django.setup()

from connections.budget.budget import Budget  # noqa: E402
from connections.budget.ledgers import Granted, OwnLedger, SharedLedger  # noqa: E402
from connections.budget.urgency import Urgency  # noqa: E402
from connections.exchanges import venue  # noqa: E402
from connections.exchanges.network import Answer, Network, Request  # noqa: E402
from connections.gateways import (  # noqa: E402
    Credentials,
    Gateway,
    GatewayError,
    OrderRequest,
    OrderType,
    SendDeadline,
    Side,
)
from desproject.lib.clock import SYSTEM_CLOCK  # noqa: E402
from tests.bench.children import say  # noqa: E402

_SEND_SECONDS = 3.0
_CANCEL_PAUSE = 0.25


class Tally:
    """What the tenants got, and how long their cancels took."""

    def __init__(self) -> None:
        # By limit and tenant.
        self.got: dict[str, Counter[str]] = defaultdict(Counter)
        # What each limit lets through a second, and turns that were granted and missed.
        self.rates: dict[str, float] = {}
        self.missed = 0
        # What is got later isn't counted.
        self.end = 0.0
        self.cancel_waits: list[float] = []
        self.lags: list[float] = []
        self.errors: Counter[str] = Counter()
        # The exchange's answers by status.
        self.answers: Counter[int] = Counter()


def watch(tally: Tally) -> None:
    """Counts what budgets let through; a cancel's wait is that for all its limits."""
    take = Budget.take

    async def counted(
        self: Budget, cost: int, urgency: Urgency, tenant: str, patience: float | None = None
    ) -> float:
        began = time.monotonic()
        until = await take(self, cost, urgency, tenant, patience)
        if urgency is Urgency.EXIT and cost:
            tally.cancel_waits.append(time.monotonic() - began)
        tally.rates[self.name] = self.bucket.rate
        if tenant and time.monotonic() < tally.end:
            tally.got[self.name][tenant] += cost
        return until

    Budget.take = counted  # type: ignore[method-assign]
    missed = Budget.missed

    def seen_missed(self: Budget) -> None:
        tally.missed += 1
        missed(self)

    Budget.missed = seen_missed  # type: ignore[method-assign]
    send = Network.send

    async def seen(self: Network, request: Request) -> Answer:
        answer = await send(self, request)
        tally.answers[answer.status] += 1
        return answer

    Network.send = seen  # type: ignore[method-assign]


def take_the_budget_out() -> None:
    """Everything may go: what the drill must notice."""
    async def ask(self: object, wanted: list[object], told: object) -> Granted:
        return Granted([True] * len(wanted))

    SharedLedger.ask = OwnLedger.ask = ask  # type: ignore[assignment, method-assign]


async def tenant(job: dict[str, Any], of: dict[str, Any], network: Network, tally: Tally) -> None:
    """One tenant at one venue: ``greed`` loops that place orders far from the market, one that cancels."""
    credentials = Credentials(of["api_key"], of["api_secret"], tenant=of["name"])
    gateway = venue(of["venue"]).gateway(credentials, "simulator", network)
    placed: asyncio.Queue[str] = asyncio.Queue()
    end = time.monotonic() + job["seconds"]
    loops = [_enter(gateway, of, f"{of['name']}-{number}", placed, end, tally) for number in range(of["greed"])]
    asking = [_ask(gateway, end, tally) for _ in range(of["greed"] // 2)]
    await asyncio.gather(*loops, *asking, _cancel(gateway, of, placed, end, tally))
    await gateway.aclose()


async def _enter(
    gateway: Gateway, of: dict[str, Any], name: str, placed: "asyncio.Queue[str]", end: float, tally: Tally
) -> None:
    number = 0
    while time.monotonic() < end:
        number += 1
        request = OrderRequest(
            f"{name}-{number}", of["symbol"], Side.BUY, OrderType.LIMIT, Decimal(of["quantity"]), Decimal(of["price"])
        )
        try:
            await gateway.place_order(request, SendDeadline(SYSTEM_CLOCK.monotonic() + _SEND_SECONDS))
            placed.put_nowait(request.client_order_id)
        except GatewayError as error:
            tally.errors[error.code] += 1
            await asyncio.sleep(0.05 if error.code != "ORDER_REJECTED" else 0)


async def _ask(gateway: Gateway, end: float, tally: Tally) -> None:
    while time.monotonic() < end:
        try:
            await gateway.account()
        except GatewayError as error:
            tally.errors[f"ask:{error.code}"] += 1
            await asyncio.sleep(0.05)


async def _cancel(
    gateway: Gateway, of: dict[str, Any], placed: "asyncio.Queue[str]", end: float, tally: Tally
) -> None:
    while time.monotonic() < end:
        await asyncio.sleep(_CANCEL_PAUSE)
        if not placed.empty():
            try:
                await gateway.cancel_order(of["symbol"], placed.get_nowait())
            except GatewayError as error:
                tally.errors[f"cancel:{error.code}"] += 1


async def _lag(end: float, lags: list[float]) -> None:
    """How late this process's own event loop is: what a cancel may have waited for the machine, not for its turn."""
    while time.monotonic() < end:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        lags.append(time.monotonic() - began - 0.01)


async def work(job: dict[str, Any]) -> Tally:
    tally, network = Tally(), Network()
    watch(tally)
    if job["without_budget"]:
        take_the_budget_out()
    try:
        end = tally.end = time.monotonic() + job["seconds"]
        await asyncio.gather(_lag(end, tally.lags), *(tenant(job, of, network, tally) for of in job["tenants"]))
    finally:
        await network.aclose()
    return tally


if __name__ == "__main__":
    wanted = json.loads(sys.stdin.readline())
    say("ready")
    sys.stdin.readline()  # all begin together
    found = asyncio.run(work(wanted))
    told = {"got": found.got, "rates": found.rates, "missed": found.missed, "cancel_waits": found.cancel_waits}
    say({**told, "errors": found.errors, "answers": found.answers, "lags": found.lags})
