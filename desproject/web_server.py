"""``python -m desproject.web_server``: daphne, which keeps no body over the limit. Its options are daphne's.

Daphne takes a whole body, into memory or a temporary file, before the site sees anything of the request: the site's own
limit comes too late to spare that. Here what goes over the limit is dropped as it comes in, and the site refuses the
request by its length, as it would have: with the status, the format and the headers of all its errors. A websocket is
refused by daphne itself: that answer gets the site's headers here.
"""

from typing import Any

from daphne import server
from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from django.http import HttpResponse

from desproject.liveness import complete


class BoundedRequest(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """A request whose body counts on over the limit, but isn't kept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Nobody wants what Twisted makes of a form, and what it can't parse it refuses before the site may say why.
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)
        self._received = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        self._received += len(data)
        if self._is_too_large:
            self.content.seek(0)
            self.content.truncate()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, *args: Any) -> None:  # noqa: N802  # Twisted's name
        if self._is_too_large:
            # One that came in chunks has told no length, and would pass for one without a body.
            self.requestHeaders.setRawHeaders(b"content-length", [str(self._received).encode()])
        super().requestReceived(*args)

    @property
    def _is_too_large(self) -> bool:
        return self._received > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


class CompleteWebSocket(WebSocketProtocol):  # type: ignore[misc]
    """A websocket whose refusal has the headers that all answers of the site have."""

    def sendHttpErrorResponse(  # noqa: N802  # autobahn's name
        self, code: int, reason: str, responseHeaders: list[tuple[str, str]] | None = None  # noqa: N803
    ) -> None:
        ours = complete(lambda _: HttpResponse(headers={"Content-Length": "0"}))
        super().sendHttpErrorResponse(code, reason, [*(responseHeaders or ()), *ours.items()])


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  # Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        return protocol


if __name__ == "__main__":
    # Daphne's server asks nobody which factories it takes.
    server.HTTPFactory = BoundedFactory
    WebSocketFactory.protocol = CompleteWebSocket
    CommandLineInterface.entrypoint()
