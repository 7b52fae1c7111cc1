"""/ws/stream on a real web process: browsers that never read, that sleep, that send no text."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from accounts.models import User
from tests.web.conftest import access_token
from tests.web.process import serving
from trading.push import News, push

pytestmark = pytest.mark.django_db(transaction=True)

PINGS = ("--ping-interval", "1", "--ping-timeout", "1")


@pytest.fixture
def port(redis_server: str) -> Iterator[int]:
    """Of a web process on the test's own database and Redis."""
    with serving({"DB_MIN_CONNECTIONS": "1", "DB_MAX_CONNECTIONS": "4"}, *PINGS) as url:
        yield int(url.rpartition(":")[2])


def _frame(message: dict[str, Any]) -> bytes:
    """A masked text frame; the mask is zero."""
    payload = json.dumps(message).encode()
    return bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2) + bytes(4) + payload


def _deaf(number: int, token: str) -> socket.socket:
    """An authenticated socket with a small buffer, which nobody reads."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(20)
    deaf.connect(("127.0.0.1", number))
    key = base64.b64encode(os.urandom(16)).decode()
    deaf.sendall(
        f"GET /ws/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert deaf.recv(4096).startswith(b"HTTP/1.1 101")
    deaf.sendall(_frame({"type": "auth", "token": token}))
    assert b"ready" in deaf.recv(4096)
    return deaf


async def _hear_row(page: ClientConnection, last: int) -> None:
    """Returns when the row has come, however many were replaced by a snapshot before."""
    while True:
        message = json.loads(await page.recv())
        if message["type"] == "event" and message["data"]["id"] == last:
            return


def _drained(deaf: socket.socket) -> int:
    """Reads until the server's end; the bytes that came."""
    total = 0
    try:
        while got := deaf.recv(65_536):
            total += len(got)
    except ConnectionResetError:
        pass
    deaf.close()
    return total


async def test_a_browser_that_never_reads_is_cut_off_and_hurts_no_other(port: int, alice: User) -> None:
    token = await database_sync_to_async(access_token)(alice)
    deaf = await asyncio.to_thread(_deaf, port, token)
    rows, size = 400, 20_000
    async with connect(f"ws://127.0.0.1:{port}/ws/stream", max_size=None) as other:
        await other.send(json.dumps({"type": "auth", "token": token}))
        hearing = asyncio.create_task(_hear_row(other, rows - 1))
        for number in range(rows):
            await push(alice.pk, News.ORDER, {"id": number, "reason": "x" * size})
            await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            await hearing
    got = await asyncio.to_thread(_drained, deaf)
    assert got < rows * size, "the server went on filling the buffer of one who reads nothing"


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"\x00" * 100])
async def test_text_that_is_no_utf8_and_bytes_end_the_socket(port: int, alice: User, payload: bytes) -> None:
    token = await database_sync_to_async(access_token)(alice)
    async with connect(f"ws://127.0.0.1:{port}/ws/stream") as page:
        await page.send(json.dumps({"type": "auth", "token": token}))
        await page.recv()
        await page.send(payload, text=payload.startswith(b"\xff"))
        closed = await _closed(page)
    # What isn't UTF-8 ends the connection below us, without a word.
    assert closed.rcvd is None or closed.rcvd.code in {1007, 4400}


async def _closed(page: ClientConnection) -> ConnectionClosed:
    async with asyncio.timeout(10):
        while True:
            try:
                await page.recv()
            except ConnectionClosed as closed:
                return closed
