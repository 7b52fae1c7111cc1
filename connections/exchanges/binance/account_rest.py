"""Signed requests of one account: stamped by the exchange's own clock, expiring with their deadline, each sent once."""

from typing import Any
from urllib.parse import urlencode

from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance.refusals import DEFAULT_PAUSE, ClockOff, OrdersThrottled
from connections.exchanges.binance.signing import signed_query
from connections.exchanges.call import Call, Purpose, Signed
from connections.gateways import Credentials, DeadlinePassed, SendDeadline

Params = dict[str, str | int]


class AccountRest:
    """One account's way to the exchange. Sockets, clock and limits are shared through ``public``."""

    def __init__(self, credentials: Credentials, public: BinancePublic[Any, Any], max_window_ms: int) -> None:
        self.public = public
        self._credentials = credentials
        self._sender = public.budgets.sender(credentials)
        self._headers = {"X-MBX-APIKEY": credentials.api_key}
        self._max_window_ms = max_window_ms
        self._clock = public.network.clock
        self._orders_shut_until = 0.0

    async def aclose(self) -> None:
        await self._sender.aclose()

    async def get(self, path: str, params: Params, *, base: str = "") -> bytes:
        """A read, tried a few times."""
        call = Call("GET", path, Purpose.READ, self._sender, base=base)
        return await self.public.read(lambda: self._signed(call, params))

    async def place(self, path: str, params: Params, deadline: SendDeadline) -> bytes:
        """Sends an order; past the account's order limit nothing goes out until the exchange takes orders again."""
        self._require_orders_open()
        try:
            return await self._signed(Call("POST", path, Purpose.PLACE, self._sender, deadline), params)
        except OrdersThrottled as error:
            self._orders_shut_until = self._clock.monotonic() + (error.retry_after or DEFAULT_PAUSE)
            raise

    async def change(self, method: str, path: str, params: Params, purpose: Purpose = Purpose.CHANGE) -> bytes:
        """Sends anything else that changes something at the exchange."""
        return await self._signed(Call(method, path, purpose, self._sender), params)

    async def keyed(self, method: str, path: str, params: Params) -> bytes:
        """A request that is known by its key alone, without stamp and signature."""
        signed = Signed(urlencode(params), self._headers)
        return await self.public.send(Call(method, path, Purpose.READ, self._sender), lambda: signed)

    async def _signed(self, call: Call, params: Params) -> bytes:
        """Sends a signed request; refused for its stamp, which means that nothing happened, it is sent once more."""
        if self.public.clock.is_stale and (call.purpose is Purpose.READ or not self.public.clock.is_known):
            await self.public.resync_clock()
        try:
            return await self.public.send(call, lambda: self._stamped(call, params))
        except ClockOff:
            await self.public.resync_clock()
            return await self.public.send(call, lambda: self._stamped(call, params))

    def _stamped(self, call: Call, params: Params) -> Signed:
        stamps: Params = {"timestamp": self.public.clock.now_ms()}
        if call.deadline is not None:
            stamps["recvWindow"] = self._window_ms(call.deadline)
        return Signed(signed_query(self._credentials.api_secret, {**params, **stamps}), self._headers)

    def _window_ms(self, deadline: SendDeadline) -> int:
        """How long the exchange may accept the request: until the deadline, no longer. Raises DeadlinePassed."""
        left = int((deadline.monotonic - self._clock.monotonic()) * 1000)
        if left <= 0:
            raise DeadlinePassed("the time to send this order had passed")
        return min(left, self._max_window_ms)

    def _require_orders_open(self) -> None:
        left = self._orders_shut_until - self._clock.monotonic()
        if left > 0:
            raise OrdersThrottled("the account's order limit is reached", retry_after=left)
