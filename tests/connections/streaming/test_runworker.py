"""The `runworker` command as a process of its own: it begins by itself, and hands over before it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection

from accounts.models import User
from connections import database
from connections.models import Lease, Process
from connections.simulator.faults import SocketKind
from connections.simulator.server import SimulatorServer
from desproject import private_redis
from tests.connections.conftest import KEY
from tests.connections.streaming.conftest import until
from tests.connections.streaming.test_host import bind

pytestmark = pytest.mark.django_db(transaction=True)
MANAGE = Path(__file__).resolve().parents[3] / "manage.py"


def environment() -> dict[str, str]:
    """This test's own database, Redis and simulator, for another process."""
    config = connection.settings_dict
    url = f"sqlite:///{config['NAME']}"
    if connection.vendor == "postgresql":
        url = f"postgresql://{config['USER']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": settings.REDIS_URL,
        "SIMULATOR_URL": settings.CONFIG.simulator_url,
        "LEASE_SECONDS": "1",
        "DES_ROLE": "streams",
    }


@pytest.fixture
async def worker(
    simulator: SimulatorServer, bus_client: "redis.asyncio.Redis", alice: User
) -> AsyncIterator[asyncio.subprocess.Process]:
    await database.run(bind, alice, KEY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(MANAGE), "runworker", "exchange-streams", env=environment(),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def running(simulator: SimulatorServer) -> None:
    await until(lambda: simulator.sockets.count()[SocketKind.USER] == 1, "the user stream", seconds=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_begins_by_itself_and_hands_over_at_a_signal(
    worker: asyncio.subprocess.Process, simulator: SimulatorServer, number: signal.Signals
) -> None:
    await running(simulator)
    worker.send_signal(number)
    _, log = await asyncio.wait_for(worker.communicate(), 15)

    assert worker.returncode == 0, log.decode()
    assert not any(simulator.sockets.count().values())
    assert not await database.run(lambda: Lease.objects.filter(owner__isnull=False).exists())
    assert not await database.run(Process.objects.exists)
    for secret in (KEY.api_key, KEY.api_secret):
        assert secret not in log.decode()


async def test_it_ends_when_it_is_told_to_drain(worker: asyncio.subprocess.Process, simulator: SimulatorServer) -> None:
    await running(simulator)
    layer = get_channel_layer()
    await layer.send("exchange-streams", {"type": "streams.drain"})
    await layer.flush()

    await asyncio.wait_for(worker.wait(), 15)
    assert worker.returncode == 0


async def test_it_waits_for_a_redis_that_comes_later(
    simulator: SimulatorServer, redis_server: str, alice: User, tmp_path: Path
) -> None:
    await database.run(bind, alice, KEY)
    socket = tmp_path / "r" / "redis.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(MANAGE), "runworker", "exchange-streams",
        env={**environment(), "REDIS_URL": f"unix://{socket}"},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async for line in process.stderr:
        if b"channel_not_heard" in line:
            break
    socket.parent.mkdir(mode=0o700)
    server = await asyncio.create_subprocess_exec(
        *private_redis.command(socket, flushable=True), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await running(simulator)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 15)
        server.terminate()
        await server.wait()
    assert process.returncode == 0
