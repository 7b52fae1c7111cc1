"""Liveness is answered before Django, and only it."""

import json
from typing import Any

import pytest
from channels.testing import HttpCommunicator

from desproject.liveness import ANSWER, Alive
from desproject.web_metrics import Message, Receive, Send


async def _beyond(scope: Message, receive: Receive, send: Send) -> None:
    """What stands behind: its status tells that it was asked."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _ask(method: str = "GET", path: str = "/api/health", **headers: str) -> dict[str, Any]:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer: dict[str, Any] = await HttpCommunicator(Alive(_beyond), method, path, headers=encoded).get_response(5)
    return answer


async def test_liveness_is_answered_without_what_stands_behind() -> None:
    answer = await _ask()
    assert (answer["status"], json.loads(answer["body"])) == (200, ANSWER)
    assert (b"content-length", str(len(answer["body"])).encode()) in answer["headers"]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/api/health", {}),
        ("GET", "/api/health/ready", {}),
        ("GET", "/api/health", {"origin": "https://elsewhere.example"}),
    ],
)
async def test_everything_else_goes_on(method: str, path: str, headers: dict[str, str]) -> None:
    assert (await _ask(method, path, **headers))["status"] == 418
