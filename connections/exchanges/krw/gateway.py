"""An account at a won exchange over REST: signed by token, each order sent once, asked for by its client id."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from connections.budget.urgency import Urgency, urgency_of, working_at
from connections.exchanges.assets_only import AssetsOnly
from connections.exchanges.call import Call, Purpose, Signed
from connections.exchanges.krw.public import KrwPublic
from connections.exchanges.krw.refusals import OutOfScope
from connections.exchanges.krw.tokens import bearer, query_of
from connections.gateways import (
    AccountSnapshot,
    Candle,
    Credentials,
    DeadlinePassed,
    Fill,
    GatewayError,
    KeyPermissions,
    OrderRejected,
    OrderReport,
    OrderRequest,
    OrderType,
    OutcomeUnknown,
    ReportStatus,
    SendDeadline,
    Side,
    SymbolRules,
    TimeInForce,
    UnexpectedShape,
    Unreachable,
)
from desproject.lib.clock import to_millis
from desproject.lib.money import ZERO, exact, floor_to, plain

Params = dict[str, str | int]
_OPEN = (ReportStatus.WORKING, ReportStatus.PARTIALLY_FILLED)
# A cancel is only accepted at first; a moment later the order says that it has ended.
_CANCEL_PAUSES = (0.0, 0.05, 0.2)


class KrwGateway(AssetsOnly):
    """See connections.gateways.Gateway. Sockets and symbols are shared through ``public``."""

    def __init__(self, credentials: Credentials, public: KrwPublic, *, stamps_requests: bool) -> None:
        self._credentials = credentials
        self._public = public
        self._api = public.api
        self._codec = public.codec
        self._clock = public.network.clock
        self._stamps_requests = stamps_requests
        self._sender = public.budgets.sender(credentials)

    async def permissions(self) -> KeyPermissions:
        """No request tells a key's permissions, so each is tried by one that only reads.

        Who may look at withdrawals counts as one who may withdraw: more can't be known without withdrawing. Keys for
        orders are bound to addresses by the exchange itself.
        """
        await self._get(self._api.paths.accounts, {})
        may_trade = await self._may_read(self._api.paths.open_orders, {**self._api.open_query, "limit": 1})
        may_withdraw = await self._may_read(self._api.paths.withdrawals, {"limit": 1})
        return KeyPermissions(can_read=True, can_trade=may_trade, can_withdraw=may_withdraw, ip_restricted=True)

    async def rules(self, symbol: str) -> SymbolRules:
        return (await self._public.symbol_table()).rules_of(symbol)

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        """See Gateway. The answer comes before the order meets the book: one that never rests, or only rests, is asked
        for once afterwards. A post-only order that would have taken, which the exchange takes and cancels at once, is
        rejected."""
        with working_at(urgency_of(Urgency.ENTRY)):
            return await self._place(request, deadline)

    async def _place(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        symbols = await self._public.symbol_table()
        params = self._order_params(request, symbols.spelling(request.symbol), await self._limit(request, deadline))
        body = await self._signed("POST", self._api.paths.place, params, Purpose.PLACE, deadline)
        try:
            order_id = self._codec.ack(body)
        except UnexpectedShape as error:
            raise OutcomeUnknown(error.message) from error
        placed = self._placed(request, order_id)
        if placed.time_in_force is TimeInForce.GTC and request.type is not OrderType.POST_ONLY:
            return placed
        try:
            report = await self._asked({self._id_field: request.client_order_id})
        except GatewayError:
            return placed
        is_gone = report.status is ReportStatus.CANCELLED and not report.filled_quantity
        if request.type is OrderType.POST_ONLY and is_gone:
            raise OrderRejected("a post-only order would have taken at once", exchange_code="post_only")
        # A market buy is a limit order only on its way.
        return replace(report, type=request.type, price=request.price)

    async def cancel_order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        with working_at(Urgency.EXIT):
            return await self._cancel(await self._named(symbol, client_order_id, exchange_order_id))

    async def _cancel(self, named: Params) -> OrderReport:
        await self._signed("DELETE", self._api.paths.cancel, named, Purpose.CANCEL)
        try:
            for pause in _CANCEL_PAUSES:
                await asyncio.sleep(pause)
                report = await self._asked(named)
                if report.status not in _OPEN:
                    break
        except GatewayError as error:
            raise OutcomeUnknown(error.message) from error
        return report

    async def order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        return await self._asked(await self._named(symbol, client_order_id, exchange_order_id))

    async def open_orders(self) -> Sequence[OrderReport]:
        found: list[OrderReport] = []
        for page in range(1, _MAX_PAGES):
            params: Params = {**self._api.open_query, "page": page, "limit": self._api.limits.orders_page}
            rows = await self._orders(self._api.paths.open_orders, params)
            found += rows
            if len(rows) < self._api.limits.orders_page:
                break
        return found

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        """See Gateway. There is no list of fills: those of each order are asked for, of the last days that the
        exchange lists (``closed_days`` in api.toml)."""
        if exchange_order_id:
            orders = [exchange_order_id]
        else:
            orders = [report.exchange_order_id for report in await self._traded(symbol, since)]
        found: list[Fill] = []
        for order_id in orders:
            found += (await self._asked({self._exchange_id_field: order_id})).fills
        wanted = [fill for fill in found if since is None or fill.executed_at >= since]
        return sorted(wanted, key=lambda fill: fill.executed_at)

    async def account(self) -> AccountSnapshot:
        asked_at = self._clock.now()
        return self._codec.account(await self._get(self._api.paths.accounts, {}), asked_at)

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        self._api.require_timeframe(timeframe)
        return await self._public.candles(symbol, timeframe, limit)

    async def aclose(self) -> None:
        """The sockets belong to the process; only the account's own limits are the gateway's."""
        await self._sender.aclose()

    # Orders.

    async def _limit(self, request: OrderRequest, deadline: SendDeadline) -> Decimal | None:
        """The price to send. A market buy, which the exchange knows only by its total, is a limit order that may pay
        a bounded part more than the best ask, and never rests: it buys the quantity or less, never more (ADR 15)."""
        if request.type is not OrderType.MARKET:
            return request.price
        if request.side is Side.SELL:
            return None
        if self._clock.monotonic() >= deadline.monotonic:
            raise DeadlinePassed("the time to send this order had passed")
        asks = (await self._public.depth(request.symbol)).asks
        if not asks:
            raise Unreachable("nobody sells: there is no price for a market order")
        rules = await self.rules(request.symbol)
        with exact():
            most = asks[0][0] * (1 + self._api.trading.market_buy_bound)
        return max(floor_to(most, rules.price_step_at(most)), asks[0][0])

    def _order_params(self, request: OrderRequest, spelling: str, limit: Decimal | None) -> Params:
        params: Params = {
            self._word("symbol"): spelling,
            "side": _SIDES[request.side],
            self._word("quantity"): plain(request.quantity),
            self._word("type"): "market" if limit is None else "limit",
            self._id_field: request.client_order_id,
        }
        if limit is not None:
            params["price"] = plain(limit)
        if condition := _condition(request):
            params["time_in_force"] = condition
        return params

    def _placed(self, request: OrderRequest, order_id: str) -> OrderReport:
        """What is known right after the exchange took the order."""
        never_rests = request.type is OrderType.MARKET
        return OrderReport(
            client_order_id=request.client_order_id,
            exchange_order_id=order_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            time_in_force=TimeInForce.IOC if never_rests else request.time_in_force,
            status=ReportStatus.WORKING,
            quantity=request.quantity,
            price=request.price,
            filled_quantity=ZERO,
            reported_at=self._clock.now(),
        )

    async def _named(self, symbol: str, client_order_id: str, exchange_order_id: str) -> Params:
        """An order by one of its ids; the exchange wants no symbol with it. Raises InvalidInput for one that isn't
        traded."""
        (await self._public.symbol_table()).spelling(symbol)
        if exchange_order_id:
            return {self._exchange_id_field: exchange_order_id}
        return {self._id_field: client_order_id}

    def _word(self, field: str) -> str:
        return self._api.word("request", field)

    @property
    def _id_field(self) -> str:
        """By which name an order is asked for by our id. Never beside the exchange's, which would win."""
        return self._word("client_order_id")

    @property
    def _exchange_id_field(self) -> str:
        return self._word("order_id")

    async def _asked(self, named: Params) -> OrderReport:
        symbols = await self._public.symbol_table()
        body = await self._get(self._api.paths.order, named)
        return self._codec.order(body, symbols, self._clock.now())

    async def _orders(self, path: str, params: Params) -> list[OrderReport]:
        symbols = await self._public.symbol_table()
        return self._codec.orders(await self._get(path, params), symbols, self._clock.now())

    async def _traded(self, symbol: str, since: datetime | None) -> list[OrderReport]:
        """Every order of a symbol that has fills: the open ones, and those that ended, window by window."""
        spelling = (await self._public.symbol_table()).spelling(symbol)
        found = {report.exchange_order_id: report for report in await self.open_orders() if report.symbol == symbol}
        for query in self._api.closed_queries:
            of_symbol: Params = {**query, "market": spelling, "limit": self._api.limits.orders_page}
            has_windows = bool(self._api.limits.closed_window_ms)
            rows = self._closed_since(of_symbol, since) if has_windows else self._closed(of_symbol)
            found |= {report.exchange_order_id: report async for report in rows}
        return [report for report in found.values() if report.filled_quantity]

    async def _closed(self, params: Params) -> AsyncIterator[OrderReport]:
        """The newest ended orders, page by page: they can't be asked for by time."""
        for page in range(1, self._api.limits.closed_pages + 1):
            rows = await self._orders(self._api.paths.closed_orders, {**params, "page": page, "order_by": "desc"})
            for report in rows:
                yield report
            if len(rows) < self._api.limits.orders_page:
                return

    async def _closed_since(self, params: Params, since: datetime | None) -> AsyncIterator[OrderReport]:
        """Ended orders, window by window."""
        limits, now = self._api.limits, self._clock.now()
        start = max(since or now - timedelta(days=limits.closed_days), now - timedelta(days=limits.closed_days))
        # The window counts by when an order was made, which may have been long before its fills.
        start -= timedelta(milliseconds=limits.closed_window_ms)
        while start <= now:
            end = start + timedelta(milliseconds=limits.closed_window_ms)
            window: Params = {"start_time": to_millis(start), "end_time": to_millis(end), "order_by": "asc"}
            for report in await self._orders(self._api.paths.closed_orders, {**params, **window}):
                yield report
            start = end

    # Sending.

    async def _may_read(self, path: str, params: Params) -> bool:
        try:
            await self._get(path, params)
        except OutOfScope:
            return False
        return True

    async def _get(self, path: str, params: Params) -> bytes:
        return await self._public.read(lambda: self._signed("GET", path, params, Purpose.READ))

    async def _signed(
        self, method: str, path: str, params: Params, purpose: Purpose, deadline: SendDeadline | None = None
    ) -> bytes:
        call = Call(method, path, purpose, self._sender, deadline)
        query = query_of(params)

        def signed() -> Signed:
            stamp = self._public.stamp_ms() if self._stamps_requests else None
            headers: Mapping[str, str] = bearer(self._credentials, query, timestamp_ms=stamp)
            if method != "POST":
                return Signed(query, headers)
            headers = {**headers, "Content-Type": "application/json; charset=utf-8"}
            return Signed("", headers, msgspec.json.encode(params))

        return await self._public.send(call, signed)


_SIDES = {Side.BUY: "bid", Side.SELL: "ask"}
_MAX_PAGES = 100


def _condition(request: OrderRequest) -> str:
    """The exchange's word for an order that doesn't simply rest; none for a market sell, whose type says it."""
    if request.type is OrderType.POST_ONLY:
        return "post_only"
    if request.type is OrderType.MARKET:
        return "ioc" if request.side is Side.BUY else ""
    return "" if request.time_in_force is TimeInForce.GTC else str(request.time_in_force)
