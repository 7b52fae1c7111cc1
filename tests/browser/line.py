"""The page's live socket in a test's hand: what the server says can be held back, altered, or said in its place."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, WebSocketRoute

Message = dict[str, Any]
_WAIT_MS = 20_000
_LOOK_MS = 20


def as_it_is(message: Message) -> Message:
    return message


class Line:
    """Of whatever the page loads next."""

    def __init__(self, page: Page) -> None:
        # While it is, nothing gets through either way, and neither side is told: a machine asleep, a tunnel.
        self.dead = False
        # What becomes of each message to the page.
        self.alter: Callable[[Message], Message] = as_it_is
        # What the server sent, whether or not it got through.
        self.heard: list[Message] = []
        self._opened = 0
        self._page = page
        self._to_page: WebSocketRoute | None = None
        self._to_server: WebSocketRoute | None = None
        page.route_web_socket(re.compile("/ws/stream$"), self._open)

    def say_to_page(self, text: str | bytes) -> None:
        assert self._to_page is not None
        self._to_page.send(text)

    def say_to_server(self, text: str | bytes) -> None:
        assert self._to_server is not None
        self._to_server.send(text)

    def wait_for_close(self) -> None:
        """Until the socket that is open is gone, whoever closes it."""
        self._wait(lambda: self._to_server is None, "the socket is closed")

    @contextmanager
    def next_snapshot(self) -> Iterator[None]:
        """What is done inside leads to a new socket and a snapshot on it."""
        opened, count = self._opened, self._snapshots()
        yield
        self._wait(lambda: self._opened > opened and self._snapshots() > count, "a new socket with a snapshot")

    def _snapshots(self) -> int:
        return sum(message["type"] == "snapshot" for message in self.heard)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(_WAIT_MS // _LOOK_MS):
            if condition():
                return
            self._page.wait_for_timeout(_LOOK_MS)
        raise AssertionError(f"not within {_WAIT_MS} ms: {what}")

    def _open(self, page: WebSocketRoute) -> None:
        self._opened += 1
        server = page.connect_to_server()
        self._to_page, self._to_server = page, server
        page.on_message(lambda text: None if self.dead else server.send(text))
        server.on_message(lambda text: self._pass_on(page, text))
        page.on_close(lambda code, reason: self._closed(server, code, reason))
        server.on_close(lambda code, reason: self._closed(page, code, reason))

    def _closed(self, other: WebSocketRoute, code: int | None, reason: str | None) -> None:
        if other in {self._to_page, self._to_server}:
            self._to_page = self._to_server = None
        other.close(code=code, reason=reason)

    def _pass_on(self, page: WebSocketRoute, text: str | bytes) -> None:
        message = json.loads(text)
        self.heard.append(message)
        if not self.dead:
            page.send(json.dumps(self.alter(message)))
