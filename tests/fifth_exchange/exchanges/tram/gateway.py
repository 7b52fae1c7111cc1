"""An account at Tram over REST."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from connections.exchanges.assets_only import AssetsOnly
from connections.exchanges.call import Call, Purpose, Signed
from connections.gateways import (
    AccountSnapshot,
    Candle,
    Credentials,
    Fill,
    KeyPermissions,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    SendDeadline,
    SymbolRules,
    UnexpectedShape,
)
from desproject.lib.clock import to_millis
from desproject.lib.money import plain

from . import codec
from .public import TramPublic
from .signing import signed_headers

_SIDES = {ours: theirs for theirs, ours in codec.SIDES.items()}
_KINDS = {ours: theirs for theirs, ours in codec.KINDS.items()}
_LIVES = {ours: theirs for theirs, ours in codec.LIVES.items()}
Params = dict[str, str | int]


class TramGateway(AssetsOnly):
    """See connections.gateways.Gateway."""

    def __init__(self, credentials: Credentials, public: TramPublic) -> None:
        self._credentials = credentials
        self._public = public
        self._api = public.api
        self._codec = public.codec
        self._sender = public.budgets.sender(credentials)

    async def permissions(self) -> KeyPermissions:
        return codec.permissions(await self._get(self._api.paths.key, {}))

    async def rules(self, symbol: str) -> SymbolRules:
        return (await self._public.symbol_table()).rules_of(symbol)

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        table = await self._public.symbol_table()
        body = {
            "ref": request.client_order_id, "market": table.spelling(request.symbol), "side": _SIDES[request.side],
            "kind": _KINDS[request.type], "life": _LIVES[request.time_in_force], "size": plain(request.quantity),
            "limit": None if request.price is None else plain(request.price),
        }  # fmt: skip
        call = Call("POST", self._api.paths.orders, Purpose.PLACE, self._sender, deadline)
        answer = await self._signed(call, {}, msgspec.json.encode(body))
        try:
            return self._codec.order(answer, table)
        except UnexpectedShape as error:
            raise OutcomeUnknown(error.message) from error

    async def cancel_order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        table = await self._public.symbol_table()
        params = _named(table.spelling(symbol), client_order_id, exchange_order_id)
        try:
            call = Call("DELETE", self._api.paths.orders, Purpose.CANCEL, self._sender)
            return self._codec.order(await self._signed(call, params), table)
        except UnexpectedShape as error:
            raise OutcomeUnknown(error.message) from error

    async def order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        table = await self._public.symbol_table()
        params = _named(table.spelling(symbol), client_order_id, exchange_order_id)
        (found,) = self._codec.orders(await self._get(self._api.paths.orders, params), table)
        return found

    async def open_orders(self) -> Sequence[OrderReport]:
        return self._codec.orders(await self._get(self._api.paths.orders, {}), await self._public.symbol_table())

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        table = await self._public.symbol_table()
        params: Params = {"market": table.spelling(symbol), "order": exchange_order_id}
        params["since"] = to_millis(since) if since else 0
        return self._codec.fills(await self._get(self._api.paths.own_deals, params), table)

    async def account(self) -> AccountSnapshot:
        return codec.account(await self._get(self._api.paths.wallet, {}))

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        self._api.require_timeframe(timeframe)
        return await self._public.candles(symbol, timeframe, limit)

    async def aclose(self) -> None:
        await self._sender.aclose()

    async def _get(self, path: str, params: Params) -> bytes:
        call = Call("GET", path, Purpose.READ, self._sender)
        return await self._public.read(lambda: self._signed(call, params))

    async def _signed(self, call: Call, params: Params, body: bytes = b"") -> bytes:
        query = urlencode(params)
        target = f"{call.path}?{query}" if query else call.path
        await self._public.now_ms()

        def signed() -> Signed:
            stamp = self._public.clock.now_ms()
            return Signed(query, signed_headers(self._credentials, stamp, call.method, target, body), body)

        return await self._public.send(call, signed)


def _named(market: str, client_order_id: str, exchange_order_id: str) -> Params:
    """An order by our id, or by the exchange's where it was placed elsewhere."""
    name = {"no": exchange_order_id} if exchange_order_id else {"ref": client_order_id}
    return {"market": market, **name}
