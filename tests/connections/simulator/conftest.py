"""A still simulator with alice and bob on it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.connections.simulator.server import Keys, RunningSimulator, running_simulator


@pytest_asyncio.fixture
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def alice(sim: RunningSimulator) -> Keys:
    return await sim.create_account("alice", USDT="100000", BTC="10")


@pytest_asyncio.fixture
async def bob(sim: RunningSimulator) -> Keys:
    return await sim.create_account("bob", USDT="100000", BTC="10")
