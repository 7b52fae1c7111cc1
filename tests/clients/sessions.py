"""A client's script against a simulator of its own: what the client saw, beside what really happened.

A script gets the addresses and keys as JSON on its standard input and prints its report as the last line of its
output. A line `still` before that asks for the market to stand still from then on.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.clients.environments import HERE, python_of
from tests.connections.simulator.server import STILL, Keys, RunningSimulator, running_simulator

_WITHIN_S = 45
# What each account begins with, and the settings by which a venue's market is listed.
_FUNDS: dict[str, dict[str, Any]] = {
    "binance_spot": {"USDT": "100000", "BTC": "10"},
    "binance_usdm": {"USDT": "100000"},
    "upbit": {"KRW": "10000000", "ETH": "10"},
    "bithumb": {"KRW": "10000000", "ETH": "10"},
}
_MARKETS: dict[str, dict[str, tuple[str, ...]]] = {
    "binance_spot": {},
    "binance_usdm": {"symbols": (), "perpetuals": ("BTCUSDT",)},
    "upbit": {"symbols": (), "won_markets": ("KRW-ETH",)},
    "bithumb": {"symbols": (), "won_markets": ("KRW-ETH",)},
}


@dataclass(frozen=True, slots=True)
class Session:
    """A finished run. `ledger` holds the simulator's account rows by owner."""

    report: Any
    ledger: dict[str, Any]
    counters: Any

    def order(self, client_id: str, owner: str = "alice") -> Any:
        """The one order of that client id."""
        (order,) = [order for order in self.ledger[owner]["orders"] if order["client_order_id"] == client_id]
        return order


def run(
    client: str, errand: str, *, exchange: str = "binance_spot", script: str = "", **settings: Any
) -> Session:
    """Runs one errand of a client's script (one named like the client) to its end; fails the test when it fails."""
    return asyncio.run(_run(client, errand, exchange, script or client, _MARKETS[exchange] | settings))


async def _run(client: str, errand: str, exchange: str, script: str, settings: dict[str, Any]) -> Session:
    python = await asyncio.to_thread(python_of, client)
    async with running_simulator(**settings) as sim:
        owners = {
            name: await sim.create_account(name, exchange=exchange, **_FUNDS[exchange]) for name in ("alice", "bob")
        }
        process = await asyncio.create_subprocess_exec(
            python, HERE / f"{script}_script.py", errand,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )  # fmt: skip
        deadline = asyncio.get_running_loop().call_later(_WITHIN_S, process.kill)
        try:
            report = await _converse(process, sim, {"exchange": exchange, **_directions(sim, owners)})
        finally:
            deadline.cancel()
        ledger = {name: await sim.ledger(keys) for name, keys in owners.items()}
        return Session(report, ledger, await sim.counters())


async def _converse(
    process: asyncio.subprocess.Process, sim: RunningSimulator, directions: dict[str, Any]
) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(json.dumps(directions).encode())
    process.stdin.close()
    complaints = asyncio.create_task(process.stderr.read())
    last = ""
    async for line in process.stdout:
        last = line.decode().strip()
        if last == "still":
            sim.server.settings.speed = STILL
    stderr = (await complaints).decode()
    assert await process.wait() == 0, f"{last}\n{stderr}"
    return {**json.loads(last), "stderr": stderr}


def _directions(sim: RunningSimulator, owners: dict[str, Keys]) -> dict[str, Any]:
    return {
        "rest_url": sim.rest_url,
        "stream_url": sim.stream_url,
        "ws_api_url": sim.ws_api_url,
        "keys": {name: [keys.api_key, keys.api_secret] for name, keys in owners.items()},
    }
