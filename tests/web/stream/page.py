"""One open socket, as a page sees it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from channels.testing import WebsocketCommunicator

from desproject.asgi import application

# Generous: nothing here measures time, and a machine that stalls must not fail a test.
_SECONDS = 30


class Page:
    """One open socket, as a page sees it."""

    def __init__(self, path: str = "/ws/stream", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.socket = WebsocketCommunicator(application, path, headers=headers)
        self.sequences: list[int] = []

    async def open(self) -> bool:
        connected, _ = await self.socket.connect(timeout=_SECONDS)
        return bool(connected)

    async def say(self, message: Any) -> None:
        await self.socket.send_to(text_data=message if isinstance(message, str) else json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.receive_from(timeout=_SECONDS))
        self.sequences.append(message["sequence"])
        return message

    async def hear_of(self, kind: str) -> dict[str, Any]:
        """The next message of this type; prices, which come by themselves, are passed over."""
        while (message := await self.hear())["type"] == "prices":
            pass
        assert message["type"] == kind, message
        return message

    async def closed_with(self) -> int:
        output = await self.socket.receive_output(timeout=_SECONDS)
        assert output["type"] == "websocket.close", output
        return int(output["code"])

    async def close(self) -> None:
        """Ends the socket. One that was given up on has a cancelled task, and would say so as if the test were
        cancelled: pytest then leaves out what else there is to take down, and every later test meets its rows."""
        with suppress(asyncio.CancelledError):
            await self.socket.disconnect(timeout=_SECONDS)


Open = Callable[[], Awaitable[Page]]


async def authenticated(new_page: Open, token: str) -> Page:
    page = await new_page()
    await page.say({"type": "auth", "token": token})
    await page.hear_of("ready")
    return page
