"""A venue of Binance over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from connections.simulator.binance.door import Credentials, Door, seconds_until
from connections.simulator.binance.endpoint import Endpoint
from connections.simulator.binance.errors import ApiError
from connections.simulator.binance.params import Params, parse_pairs
from connections.simulator.binance.signing import rest_payload

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Incoming:
    """An HTTP request exactly as it was sent."""

    method: str
    path: str
    query: str
    body: str
    api_key: str | None
    address: str

    @classmethod
    async def read(cls, request: web.BaseRequest) -> "Incoming":
        path, _, query = request.raw_path.partition("?")
        body = (await request.read()).decode(errors="replace") if request.can_read_body else ""
        return cls(request.method, path, query, body, request.headers.get("X-MBX-APIKEY"), request.remote or "")

    def values(self) -> dict[str, str]:
        """The parameters. Raises ApiError when one is given twice."""
        return parse_pairs(self.query, self.body)

    def value(self, name: str) -> str:
        """One parameter for counting and faults: empty if missing or unreadable."""
        try:
            return self.values().get(name, "")
        except ApiError:
            return ""


Table = Mapping[tuple[str, str], Endpoint]


class RestApi:
    """Answers one HTTP request at a time; knows nothing of faults."""

    def __init__(self, door: Door, table: Table) -> None:
        self._door = door
        self._table = table

    def answer(self, incoming: Incoming) -> web.Response:
        endpoint = self._table.get((incoming.method, incoming.path))
        if endpoint is None:
            return self._unrouted(incoming)
        headers: dict[str, str] = {}
        try:
            status, content = 200, self._run(endpoint, incoming)
            if endpoint.counts_orders:
                headers = self._order_counts(incoming.api_key or "")
        except ApiError as error:
            status, content = error.status, error.body()
            if error.retry_at_ms is not None:
                headers["Retry-After"] = str(seconds_until(error.retry_at_ms, self._door.exchange.now_ms()))
        used = str(self._door.weight_used(incoming.address))
        headers |= {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used}
        return web.Response(
            body=_encode(content), status=status, headers=headers, content_type="application/json", charset="utf-8"
        )

    def _run(self, endpoint: Endpoint, incoming: Incoming) -> Any:
        values = incoming.values()
        credentials = Credentials(
            incoming.api_key, values.get("signature"), lambda: rest_payload(incoming.query, incoming.body)
        )
        return self._door.run(endpoint, Params(values), credentials, incoming.address)

    def _order_counts(self, api_key: str) -> dict[str, str]:
        counts = self._door.order_counts(api_key)
        return {f"x-mbx-order-count-{name.lower()}": str(count) for name, count in counts.items()}

    def _unrouted(self, incoming: Incoming) -> web.Response:
        if any(known == incoming.path for _, known in self._table):
            body = {"code": -1000, "msg": f"Request method '{incoming.method}' not supported"}
            return web.json_response(body, status=405)
        page = "<html><body><h2>404 Not found</h2></body></html>"
        return web.Response(status=404, text=page, content_type="text/html")
