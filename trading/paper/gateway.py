"""A paper account as a gateway: the same contract as an exchange's, so that all code above it is the same as live."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, cast

from connections.exchanges.contract import PublicApi
from connections.gateways import (
    AccountPosition,
    AccountSnapshot,
    Candle,
    DeadlinePassed,
    Fill,
    FundingPayment,
    KeyPermissions,
    MarginSettings,
    MarginType,
    NotOffered,
    OrderReport,
    OrderRequest,
    SendDeadline,
    SymbolRules,
)
from connections.paper import PERMISSIONS
from desproject.lib.clock import Clock
from desproject.lib.errors import InvalidInput
from trading.paper.account import LEVERAGE, PaperAccount, PaperOrder
from trading.paper.prices import Prices

Opened = Callable[[], Awaitable[PaperAccount]]


class Told(Protocol):
    """Hears of orders that others' orders of the same account filled."""

    def __call__(self, orders: Sequence[PaperOrder]) -> None: ...


class PaperGateway:
    """See connections.gateways.Gateway. ``opened`` gives the account, which outlives this object."""

    def __init__(self, opened: Opened, public: PublicApi, prices: Prices, clock: Clock, told: Told) -> None:
        self._opened = opened
        self._public = public
        self._prices = prices
        self._clock = clock
        self._told = told

    async def permissions(self) -> KeyPermissions:
        return PERMISSIONS

    async def rules(self, symbol: str) -> SymbolRules:
        found = cast(Mapping[str, SymbolRules], await self._public.symbols()).get(symbol)
        if found is None:
            raise InvalidInput("this symbol isn't traded here", fields={"symbol": ["not traded on this exchange"]})
        return found

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        rules, account = await self.rules(request.symbol), await self._opened()
        if self._clock.monotonic() > deadline.monotonic:  # nothing is awaited from here on
            raise DeadlinePassed("the order's deadline has passed")
        now = self._clock.now()
        try:
            order = account.place(request, rules, *self._prices.depth(request.symbol), now)
        finally:
            others = [each for each in account.touched() if each.request.client_order_id != request.client_order_id]
            self._told(others)
        return order.report(now)

    async def cancel_order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        return (await self._opened()).cancel(exchange_order_id or client_order_id).report(self._clock.now())

    async def order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        return (await self._opened()).order(exchange_order_id or client_order_id).report(self._clock.now())

    async def open_orders(self) -> Sequence[OrderReport]:
        return [order.report(self._clock.now()) for order in (await self._opened()).open_orders]

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        return [
            fill
            for fill in (await self._opened()).fills
            if fill.symbol == symbol
            and (since is None or fill.executed_at >= since)
            and exchange_order_id in ("", fill.exchange_order_id)
        ]

    async def account(self) -> AccountSnapshot:
        return AccountSnapshot((await self._opened()).balances(), self._clock.now(), complete=True)

    async def positions(self) -> Sequence[AccountPosition]:
        account = await self._opened()
        return account.open_positions(self._prices.marks(account.positions))

    async def margin_settings(self, symbol: str) -> MarginSettings:
        return MarginSettings(LEVERAGE, MarginType.CROSS)

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        raise NotOffered(f"on paper the leverage is {LEVERAGE}")

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        raise NotOffered("on paper all of the account backs a position")

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        return ()

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        return await self._public.candles(symbol, timeframe, limit)

    async def aclose(self) -> None:
        """Nothing is held open."""
