"""Liveness, answered on the loop: a process whose threads are all busy is alive, and must say so in time."""

import json
from collections.abc import Callable
from io import BytesIO

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware

from desproject.content_policy import ContentPolicyMiddleware
from desproject.web_metrics import App, Message, Receive, Send

PATH = "/api/health"
ANSWER = {"status": "ok"}


def _answer(_: HttpRequest) -> HttpResponse:
    body = json.dumps(ANSWER, separators=(",", ":")).encode()
    headers = {"Content-Length": str(len(body)), "Cache-Control": "no-store"}
    return HttpResponse(body, content_type="application/json", headers=headers)


def complete(answer: Callable[[HttpRequest], HttpResponse]) -> HttpResponse:
    """The answer with the headers that every answer of the site has, given by the middlewares that give them there."""
    request = WSGIRequest({
        "REQUEST_METHOD": "GET", "PATH_INFO": PATH, "SERVER_NAME": "localhost", "SERVER_PORT": "443",
        "wsgi.url_scheme": "https", "wsgi.input": BytesIO(),
    })  # fmt: skip
    return XFrameOptionsMiddleware(ContentPolicyMiddleware(SecurityMiddleware(answer)))(request)  # type: ignore[return-value]


class Alive:
    """An ASGI application that answers GET on the liveness path itself, and leaves everything else to ``app``: other
    methods, and pages of other origins, which want their CORS headers."""

    def __init__(self, app: App) -> None:
        self._app = app
        answer = complete(_answer)
        self._headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
        self._body = answer.content

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if _asks(scope):
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await send({"type": "http.response.body", "body": self._body})
        else:
            await self._app(scope, receive, send)


def _asks(scope: Message) -> bool:
    return (
        scope["type"] == "http"
        and scope["path"] == PATH
        and scope["method"] == "GET"
        and all(name != b"origin" for name, _ in scope["headers"])
    )
