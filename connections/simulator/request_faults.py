"""Where the faults of requests strike, for every venue: before a request is processed, and after."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from connections.simulator.faults import Fault, FaultBox, FaultKind, Occasion

_AMOUNT_AS_TEXT = re.compile(rb'"(-?\d+\.\d+)"')


class RequestFaults:
    """The faults of one venue's front door; `error_body` is its way to say an error."""

    def __init__(self, faults: FaultBox, error_body: Callable[[Fault], dict[str, Any]]) -> None:
        self._faults = faults
        self._error_body = error_body
        self.latency_s = 0.0

    async def before(self, request: web.BaseRequest, occasion: Occasion) -> web.StreamResponse | None:
        """What is answered instead of processing the request, if anything."""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if delay := self._faults.strike(FaultKind.DELAY, occasion):
            await asyncio.sleep(delay.seconds)
        if self._faults.strike(FaultKind.DROP_BEFORE, occasion):
            return _cut(request)
        if fault := self._faults.strike(FaultKind.HTTP_ERROR, occasion):
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return web.json_response(self._error_body(fault), status=fault.status, headers=headers)
        return None

    async def after(self, request: web.BaseRequest, occasion: Occasion, response: web.Response) -> web.StreamResponse:
        """The answer of a processed request, or what comes instead."""
        if fault := self._faults.strike(FaultKind.ACCEPT_THEN_TIMEOUT, occasion):
            await asyncio.sleep(fault.seconds)
            return _cut(request)
        if fault := self._faults.strike(FaultKind.MALFORMED, occasion):
            is_page = fault.payload.startswith("<")
            kind = "text/html" if is_page else "application/json"
            return web.Response(text=fault.payload, content_type=kind, status=fault.status)
        if self._faults.strike(FaultKind.TRUNCATED, occasion):
            return await _break_off(request, response)
        if self._faults.strike(FaultKind.NUMBERS, occasion):
            response.body = _AMOUNT_AS_TEXT.sub(rb"\1", _body(response))
        if renamed := self._faults.strike(FaultKind.RENAMED_FIELD, occasion):
            name = renamed.field.encode()
            response.body = _body(response).replace(b'"%b":' % name, b'"new_%b":' % name)
        return response


def _cut(request: web.BaseRequest) -> web.Response:
    """Cuts the connection; the response that the framework wants goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _break_off(request: web.BaseRequest, response: web.Response) -> web.StreamResponse:
    """Says how long the answer is, sends half of it, and ends the connection."""
    body = _body(response)
    half = web.StreamResponse(status=response.status, headers={"Content-Length": str(len(body))})
    half.content_type = response.content_type
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


def _body(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""
