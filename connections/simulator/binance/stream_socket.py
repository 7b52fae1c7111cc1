"""One client of the market streams: its address, and the messages it may send."""

from typing import Any
from urllib.parse import parse_qs

import msgspec

from connections.simulator.binance.streams import MarketStreams, Subscriber

MAX_STREAMS = 1024
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class BadRequest(Exception):
    """A message that the stream server refuses; its text is the error's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def streams_in(path: str, query: str) -> list[str]:
    """The streams named by a connection's address: /ws/a/b or /stream?streams=a/b."""
    named = parse_qs(query).get("streams", [""])[0] if path.startswith("/stream") else path.removeprefix("/ws")
    return [stream for stream in named.split("/") if stream]


def respond(text: str, streams: MarketStreams, subscriber: Subscriber) -> str:
    """Does what a message asks; the answer as JSON."""
    try:
        request = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _json({"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"})
    request_id = request.get("id") if isinstance(request, dict) else None
    try:
        return _json({"result": _result(request, streams, subscriber), "id": request_id})
    except BadRequest as error:
        return _json({"error": {"code": error.code, "msg": str(error)}, "id": request_id})


def _result(request: Any, streams: MarketStreams, subscriber: Subscriber) -> Any:
    method, params = _checked(request)
    if method == "LIST_SUBSCRIPTIONS":
        return list(subscriber.streams)
    if method == "GET_PROPERTY":
        _require_combined(params)
        return subscriber.combined
    if method == "SET_PROPERTY":
        _require_combined(params)
        if len(params) != 2 or not isinstance(params[1], bool):
            raise BadRequest(1, "Invalid value type: expected Boolean")
        subscriber.combined = params[1]
    elif method == "SUBSCRIBE":
        if len(subscriber.streams) + len(params) > MAX_STREAMS:
            raise BadRequest(2, "Invalid request: too many parameters")
        streams.subscribe(subscriber, params)
    else:
        streams.unsubscribe(subscriber, params)
    return None


def _checked(request: Any) -> tuple[str, list[Any]]:
    if not isinstance(request, dict) or "method" not in request:
        raise BadRequest(2, "Invalid request: missing field `method` at line 1 column 1")
    method, params = request["method"], request.get("params", [])
    if method not in _METHODS:
        expected = ", ".join(f"`{name}`" for name in _METHODS)
        raise BadRequest(2, f"Invalid request: unknown variant {method}, expected one of {expected}")
    if not isinstance(request.get("id"), int | str | None) or "id" not in request:
        raise BadRequest(2, "Invalid request: request ID must be an unsigned integer")
    is_list = isinstance(params, list)
    if not is_list or (method.endswith("SUBSCRIBE") and not all(isinstance(name, str) for name in params)):
        raise BadRequest(2, "Invalid request: params must be a list of strings")
    return method, params


def _require_combined(params: list[Any]) -> None:
    if not params or not isinstance(params[0], str):
        raise BadRequest(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise BadRequest(0, "Unknown property")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
