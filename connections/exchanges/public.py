"""What every venue's REST shares: one way out, reads that are tried again, the symbol table, the measured clock.

One object serves all accounts of a process at one venue and mode.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog

from connections.budget.urgency import Urgency, working_at
from connections.exchanges.api_file import ApiFile
from connections.exchanges.budgets import VenueBudgets
from connections.exchanges.call import Call, Purpose, Signed
from connections.exchanges.network import Answer, Network, Request
from connections.exchanges.server_clock import Sample, ServerClock
from connections.exchanges.wire import Symbols
from connections.gateways import (
    Banned,
    DeadlinePassed,
    FilterRefused,
    GatewayError,
    NothingHappened,
    OutcomeUnknown,
    OutOfBudget,
    SymbolRules,
    Throttled,
    Unreachable,
)
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

T = TypeVar("T")
SYMBOLS_SECONDS = 3600.0
# A filter that refused an order may have changed since: the table is believed for no longer than this then.
_DOUBTED_SECONDS = 60.0
READ_SECONDS = 10.0
# An order is answered in milliseconds; past this it is better asked for.
WRITE_SECONDS = 5.0
_READ_PAUSES = (0.2, 0.6)
_LONGEST_WAIT = 2.0
# When a refusal over limits doesn't say how long.
_PAUSE = 60.0
_REREAD_SECONDS = 30.0
# A clock measured over a slow way is measured again, so often at most.
_CLOCK_TRIES = 3
_QUICK_SECONDS = 0.25


class VenuePublic(ABC):
    """What everybody may ask a venue. Also the one way out for signed requests, so that limits are obeyed in one
    place. A venue says how its symbols and its time are asked for."""

    def __init__(self, api: ApiFile, feed: str, base: str, network: Network) -> None:
        self.api = api
        self.network = network
        self.base = base
        self.budgets = VenueBudgets(api, feed, base, network)
        self.clock = ServerClock(network.clock)
        self._symbols: Symbols | None = None
        self._symbols_read_at = 0.0
        self._are_symbols_doubted = False
        self._symbols_lock = asyncio.Lock()
        self._rereading: asyncio.Task[None] | None = None
        self._clock_lock = asyncio.Lock()
        self._counted = f"exchange_api.{feed.replace(':', '_')}_{api.version}_requests"

    @abstractmethod
    async def _ask_symbols(self) -> Symbols:
        """The symbol table, asked for now. Raises GatewayError."""

    @abstractmethod
    async def _ask_time(self) -> Sample:
        """The exchange's time, asked for now. Raises GatewayError."""

    async def aclose(self) -> None:
        """Ends what it does beside the work."""
        if self._rereading is not None:
            self._rereading.cancel()
            await asyncio.gather(self._rereading, return_exceptions=True)

    # Symbols.

    async def symbols(self) -> Mapping[str, SymbolRules]:
        """The filters of every traded symbol, by DES's name."""
        return (await self.symbol_table()).rules

    async def symbol_table(self) -> Symbols:
        """Read by whoever comes first, and again each hour, or sooner after a filter refused an order. That is done
        beside the work: no order waits for it."""
        if self._symbols is None:
            async with self._symbols_lock:
                if self._symbols is None:
                    await self._read_symbols()
        self._reread_old_symbols()
        assert self._symbols is not None  # noqa: S101  # read above, and never unset
        return self._symbols

    def _reread_old_symbols(self) -> None:
        age = self.network.clock.monotonic() - self._symbols_read_at
        is_old = age >= (_DOUBTED_SECONDS if self._are_symbols_doubted else SYMBOLS_SECONDS)
        if self._symbols is not None and is_old and (self._rereading is None or self._rereading.done()):
            self._rereading = asyncio.create_task(self._reread_symbols(), name="symbols")

    async def _read_symbols(self) -> None:
        self._symbols = await self._ask_symbols()
        self._symbols_read_at, self._are_symbols_doubted = self.network.clock.monotonic(), False

    async def _reread_symbols(self) -> None:
        """The old table serves on where a new one can't be had."""
        try:
            with working_at(Urgency.BACKGROUND):
                await self._read_symbols()
        except GatewayError as error:
            log.warning("symbols_not_read_again", base=self.base, error=error.code)
            await asyncio.sleep(_REREAD_SECONDS)

    # Time.

    async def now_ms(self) -> int:
        """The exchange's time, never ahead of it."""
        if not self.clock.is_known:
            await self.resync_clock()
        return self.clock.now_ms()

    async def resync_clock(self) -> None:
        """Several callers at once measure once."""
        asked = self.network.clock.monotonic()
        async with self._clock_lock:
            if self.clock.measured_since(asked):
                return
            samples = [await self._ask_time()]
            while samples[-1].seconds > _QUICK_SECONDS and len(samples) < _CLOCK_TRIES:
                samples.append(await self._ask_time())
            self.clock.measured(min(samples, key=lambda sample: sample.seconds))
            log.info("exchange_clock_measured", base=self.base, skew_ms=round(self.clock.skew_ms or 0))

    def _seen_ns(self) -> int:
        """When what was polled was seen, as events of streams say it."""
        return int(self.network.clock.now().timestamp() * 1_000_000_000)

    # Sending.

    async def get(self, path: str, query: str = "", counted_as: str = "") -> bytes:
        """A public read, tried a few times. Raises GatewayError."""
        call, rest = Call("GET", path, counted_as=counted_as), Signed(query)
        return await self.read(lambda: self.send(call, lambda: rest))

    async def read(self, once: Callable[[], Awaitable[T]]) -> T:
        """Tries a read again after a moment where nothing happened, unless the exchange asks for a long pause."""
        for pause in _READ_PAUSES:
            try:
                return await once()
            except (DeadlinePassed, OutOfBudget):
                raise
            except NothingHappened as error:
                wait = max(error.retry_after or 0, pause)
                if wait > _LONGEST_WAIT:
                    raise
                await asyncio.sleep(wait)
        return await once()

    async def send(self, call: Call, signed: Callable[[], Signed]) -> bytes:
        """Sends once, when it is the call's turn: it is stamped and signed only then. The body of a success.

        Raises GatewayError: OutOfBudget where the turn didn't come in time.
        """
        in_turn = await self.budgets.spend(call)
        rest, base, is_read = signed(), call.base or self.base, call.purpose is Purpose.READ
        url = f"{base}{call.path}?{rest.query}" if rest.query else f"{base}{call.path}"
        seconds = READ_SECONDS if is_read else WRITE_SECONDS
        sent = self.network.clock.monotonic()
        METRICS.count(self._counted)
        try:
            answer = await self.network.send(
                Request(call.method, url, rest.headers, seconds, call.deadline, rest.body, in_turn)
            )
        except OutcomeUnknown as error:
            if is_read:
                raise Unreachable(error.message) from None
            raise
        self._heard(call, answer, sent)
        if 200 <= answer.status < 300:
            return answer.body
        refused = self._refusal(call, answer)
        await self._obey(call, refused)
        if isinstance(refused, FilterRefused):
            self._are_symbols_doubted = True
            self._reread_old_symbols()
        raise refused

    @abstractmethod
    def _refusal(self, call: Call, answer: Answer) -> GatewayError:
        """The error of an answer that is no success."""

    def _heard(self, call: Call, answer: Answer, sent: float) -> None:  # noqa: B027  # most say nothing
        """Takes over what the answer says of limits, and of the time, where the exchange says something."""

    async def _obey(self, call: Call, refused: GatewayError) -> None:
        """Lets nothing more out where the exchange said so: a ban is the address's, else it is about one limit."""
        if isinstance(refused, Banned):
            await self.budgets.shut(refused.retry_after or _PAUSE, banned=True)
        elif isinstance(refused, Throttled):
            await self.budgets.of(call).shut(refused.retry_after or _PAUSE)
