"""Binance spot's WebSocket API: the same methods as REST, and user data subscriptions of many accounts."""

from collections.abc import Callable
from typing import Any

import msgspec

from connections.simulator.binance import errors
from connections.simulator.binance.door import Credentials, Door
from connections.simulator.binance.errors import ApiError
from connections.simulator.binance.params import Params
from connections.simulator.binance.signing import as_text, ws_payload
from connections.simulator.binance_spot.endpoints import WS_METHODS
from connections.simulator.binance_spot.user_events import Subscription, UserEvents
from connections.simulator.sockets import Socket

MAX_SUBSCRIPTIONS = 1000
_METHOD_WEIGHT = 2


class Session:
    """One connection to the WebSocket API."""

    def __init__(self, socket: Socket, door: Door, events: UserEvents, address: str, show_limits: bool) -> None:
        self._socket = socket
        self._door = door
        self._events = events
        self._address = address
        self._show_limits = show_limits
        self._subscriptions: dict[int, Subscription] = {}
        self._next_id = 0
        self._logged_on: str | None = None
        self._logged_on_ms: int | None = None
        self._connected_ms = door.exchange.now_ms()
        self._own: dict[str, Callable[[dict[str, Any]], Any]] = {
            "userDataStream.subscribe.signature": self._subscribe_signed,
            "userDataStream.subscribe": self._subscribe_session,
            "userDataStream.unsubscribe": self._unsubscribe,
            "session.subscriptions": self._list_subscriptions,
            "session.logon": self._log_on,
            "session.status": self._status,
            "session.logout": self._log_out,
        }

    def end(self) -> None:
        """The connection is gone: so are its subscriptions."""
        for subscription in self._subscriptions.values():
            self._events.remove(subscription)
        self._subscriptions.clear()

    def respond(self, text: str) -> str:
        """Runs one request; the answer as JSON."""
        request_id: Any = None
        params: dict[str, Any] = {}
        try:
            request = _decode(text)
            request_id = request.get("id")
            params = request.get("params") or {}
            answer: dict[str, Any] = {"status": 200, "result": self._run(str(request.get("method", "")), params)}
        except ApiError as error:
            answer = {"status": error.status, "error": self._error_body(error)}
        if as_text(params.get("returnRateLimits", self._show_limits)) == "true":
            answer["rateLimits"] = self._door.usage(self._address, params.get("apiKey") or self._logged_on)
        return msgspec.json.encode({"id": request_id, **answer}).decode()

    def _run(self, method: str, params: dict[str, Any]) -> Any:
        if method in self._own:
            self._door.weights.spend(self._address, _METHOD_WEIGHT, self._door.exchange.now_ms())
            return self._own[method](params)
        endpoint = WS_METHODS.get(method.removeprefix("v3/"))
        if endpoint is None:
            raise ApiError(-1000, f"Unknown method '{method}'.")
        values = {name: _as_param(value) for name, value in params.items() if name != "returnRateLimits"}
        if endpoint.counts_orders:
            self._door.received_order(params.get("apiKey") or self._logged_on, values.get("newClientOrderId"))
        logged_on = self._logged_on if "signature" not in params else None
        credentials = Credentials(params.get("apiKey"), params.get("signature"), lambda: ws_payload(params), logged_on)
        return self._door.run(endpoint, Params(values), credentials, self._address)

    def _error_body(self, error: ApiError) -> dict[str, Any]:
        if error.retry_at_ms is None:
            return error.body()
        data = {"serverTime": self._door.exchange.now_ms(), "retryAfter": error.retry_at_ms}
        return {**error.body(), "data": data}

    # subscriptions

    def _subscribe_signed(self, params: dict[str, Any]) -> Any:
        for name in ("apiKey", "signature"):
            if not params.get(name):
                raise errors.missing(name)
        return self._subscribe(self._identify(params))

    def _subscribe_session(self, _params: dict[str, Any]) -> Any:
        if self._logged_on is None:
            raise ApiError(-1002, "You are not authorized to execute this request.", 401)
        return self._subscribe(self._logged_on)

    def _subscribe(self, api_key: str) -> Any:
        if any(subscription.api_key == api_key for subscription in self._subscriptions.values()):
            raise ApiError(-2035, "User Data Stream subscription already active.")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ApiError(-2042, "Maximum subscription ID reached for this connection.")
        subscription = Subscription(self._socket, self._next_id, api_key)
        self._next_id += 1
        self._subscriptions[subscription.subscription_id] = subscription
        self._events.add(subscription)
        return {"subscriptionId": subscription.subscription_id}

    def _unsubscribe(self, params: dict[str, Any]) -> Any:
        wanted = params.get("subscriptionId")
        ids = list(self._subscriptions) if wanted is None else [wanted]
        if not ids or any(subscription_id not in self._subscriptions for subscription_id in ids):
            raise ApiError(-2036, "User Data Stream subscription not active.")
        for subscription_id in ids:
            self._events.remove(self._subscriptions.pop(subscription_id))
        return {}

    def _list_subscriptions(self, _params: dict[str, Any]) -> Any:
        return [{"subscriptionId": subscription_id} for subscription_id in self._subscriptions]

    # the session

    def _identify(self, params: dict[str, Any]) -> str:
        values = {name: _as_param(value) for name, value in params.items()}
        credentials = Credentials(params.get("apiKey"), params.get("signature"), lambda: ws_payload(params))
        return self._door.identify(credentials, Params(values)).api_key

    def _log_on(self, params: dict[str, Any]) -> Any:
        api_key = self._identify(params)
        if not self._door.exchange.bank.get(api_key).ed25519_public_key:
            raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
        self._logged_on, self._logged_on_ms = api_key, self._door.exchange.now_ms()
        return self._status(params)

    def _log_out(self, params: dict[str, Any]) -> Any:
        self._logged_on = self._logged_on_ms = None
        return self._status(params)

    def _status(self, _params: dict[str, Any]) -> Any:
        return {
            "apiKey": self._logged_on,
            "authorizedSince": self._logged_on_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._show_limits,
            "serverTime": self._door.exchange.now_ms(),
            "userDataStream": bool(self._subscriptions),
        }


def _decode(text: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise ApiError(-1135, "Invalid JSON Request") from None
    if not isinstance(request, dict) or not isinstance(request.get("params") or {}, dict):
        raise ApiError(-1135, "Invalid JSON Request")
    return request


def _as_param(value: Any) -> str:
    """A JSON value as the text that REST would carry."""
    return msgspec.json.encode(value).decode() if isinstance(value, list) else as_text(value)
