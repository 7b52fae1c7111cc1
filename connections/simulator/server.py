"""The simulator as a server: one port, one loop, every venue's paths."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog
from aiohttp import web

from connections.simulator.accounts import Bank
from connections.simulator.binance.limits import Budgets
from connections.simulator.binance_spot.front import WS_API, BinanceSpot
from connections.simulator.binance_usdm.front import BinanceUsdm, usdm_budgets
from connections.simulator.binance_usdm.instruments import PERPETUALS
from connections.simulator.binance_usdm.market_api import mark_price
from connections.simulator.bithumb import BITHUMB
from connections.simulator.control import PREFIX, AccountSpec, Control, Front, ServedVenue
from connections.simulator.exchange import Clearing, Exchange
from connections.simulator.faults import FaultBox
from connections.simulator.history import make_tape
from connections.simulator.instruments import DEFAULT_SYMBOLS, INSTRUMENTS, Instrument
from connections.simulator.krw.budgets import KrwBudgets
from connections.simulator.krw.front import KrwFront
from connections.simulator.krw.markets import INSTRUMENTS as KRW_INSTRUMENTS
from connections.simulator.krw.wire import Wire
from connections.simulator.margin import MarginBank
from connections.simulator.market import MarketSource
from connections.simulator.replay import Recording
from connections.simulator.sim_clock import ExchangeClock
from connections.simulator.sockets import Sockets
from connections.simulator.upbit import UPBIT
from connections.simulator.walk import RandomWalk, Storm

_WON_VENUES = (UPBIT, BITHUMB)
_MAX_LAG_S = 1.0
_STEPS_BETWEEN_BREATHS = 50
_GOODBYE_S = 0.2
_log = structlog.get_logger(__name__)


class UnknownSymbol(ValueError):
    """The simulator doesn't list this symbol."""


@dataclass(slots=True)
class Settings:
    """How a simulator is set up. `speed` divides the market's intervals; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    speed: float = 1.0
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    replay: Path | None = None
    control_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    accounts: tuple[AccountSpec, ...] = field(default=(), repr=False)
    budgets: Budgets = field(default_factory=Budgets)
    latency_s: float = 0.0
    # After so long Binance ends a websocket, having said so before.
    socket_life_s: float = 86_400.0
    # Markets of the won exchanges, each with a book of its own at every one of them.
    won_markets: tuple[str, ...] = ()
    won_budgets: KrwBudgets = field(default_factory=KrwBudgets)
    perpetuals: tuple[str, ...] = ()
    usdm_budgets: Budgets = field(default_factory=usdm_budgets)
    clock: ExchangeClock = field(default_factory=ExchangeClock)
    # More venues than the four: each is made with the server, and opens its exchange there (open_exchange).
    venues: tuple["Callable[[SimulatorServer], VenueFront]", ...] = ()


class VenueFront(Front, Protocol):
    """A venue's door: what is behind it, which paths it answers, and what it does by itself."""

    name: str
    exchange: Exchange

    def serves(self, path: str) -> bool: ...

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request or serves one websocket to its end."""

    async def run(self) -> None:
        """Publishes what has its own rhythm, for ever."""


class SimulatorServer:
    """A running simulator: `async with SimulatorServer(settings) as sim: sim.rest_url …`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = FaultBox(settings.seed)
        self.exchange = Exchange(settings.clock.now_ms)
        self._sources = _sources(settings)
        for source in self._sources:
            instrument = INSTRUMENTS[source.symbol]
            tape = make_tape(instrument, source.first_price, self.exchange.now_ms(), settings.seed)
            self.exchange.list_market(instrument, tape)
        self.sockets = Sockets(settings.socket_life_s)
        self.spot = BinanceSpot(self.exchange, self.faults, self.sockets, settings.budgets)
        self._other_sources: list[tuple[Exchange, MarketSource]] = []
        self.usdm = self._usdm_front()
        self.won = {wire.name: self._won_front(wire) for wire in _WON_VENUES if settings.won_markets}
        self.more = [make(self) for make in settings.venues]
        venues: dict[str, ServedVenue] = {
            "binance_spot": ServedVenue(self.exchange, self.spot),
            "binance_usdm": ServedVenue(self.usdm.exchange, self.usdm),
            **{name: ServedVenue(front.exchange, front) for name, front in self.won.items()},
            **{front.name: ServedVenue(front.exchange, front) for front in self.more},
        }
        for served in venues.values():
            served.front.faults.latency_s = settings.latency_s
        self.control = Control(settings.control_token, venues, settings.clock, self.faults, self.sockets, self._storm)
        for spec in settings.accounts:
            self.control.create_account(spec)
        self._runner: web.ServerRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._port = settings.port

    # addresses

    @property
    def rest_url(self) -> str:
        return f"http://{self.settings.host}:{self._port}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self.settings.host}:{self._port}"

    @property
    def ws_api_url(self) -> str:
        return self.stream_url + WS_API

    @property
    def control_url(self) -> str:
        return self.rest_url + PREFIX

    # life

    async def start(self) -> None:
        """Binds the port and lets the markets run."""
        for exchange, source in self._all_sources():
            self._prime(exchange, source)
        http = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(http, handle_signals=False, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._spawn(self.spot.streams.run())
        self._spawn(self.usdm.streams.run())
        self._spawn(self.usdm.keep_time())
        self._spawn(self.sockets.keep_alive())
        for front in self.won.values():
            self._spawn(front.streams.run())
        for other in self.more:
            self._spawn(other.run())
        for exchange, source in self._all_sources():
            self._spawn(self._play(exchange, source))

    async def stop(self) -> None:
        """Closes every socket and stops the markets."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self.sockets.close_all()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> "SimulatorServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # venues

    def open_exchange(
        self, venue: str, instruments: Iterable[Instrument], bank: Clearing | None = None
    ) -> Exchange:
        """An exchange with accounts of its own, whose markets walk their own way. For fronts, before the start."""
        exchange = Exchange(self.settings.clock.now_ms, bank)
        for instrument in instruments:
            self._list(exchange, instrument, f"{self.settings.seed}/{venue}")
        return exchange

    # inside

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith(PREFIX):
            return await self.control.handle(request)
        if self.usdm.serves(path, request.headers.get("X-MBX-APIKEY")):
            return await self.usdm.handle(request)
        if self.spot.serves(path):
            return await self.spot.handle(request)
        fronts: list[KrwFront | VenueFront] = [*self.won.values(), *self.more]
        for front in fronts:
            if front.serves(path):
                return await front.handle(request)
        return web.Response(status=404)

    def _won_front(self, wire: Wire) -> KrwFront:
        """A won exchange with accounts, books and prices of its own."""
        unknown = [symbol for symbol in self.settings.won_markets if symbol not in KRW_INSTRUMENTS]
        if unknown:
            raise UnknownSymbol(", ".join(unknown))
        listed = [KRW_INSTRUMENTS[symbol] for symbol in self.settings.won_markets]
        exchange = self.open_exchange(wire.name, listed, Bank(fees_in_quote=True))
        return KrwFront(wire, exchange, self.faults, self.sockets, self.settings.won_budgets)

    def _usdm_front(self) -> BinanceUsdm:
        """Perpetual contracts, with accounts, books and prices of their own."""
        bank = MarginBank(lambda symbol: mark_price(exchange.markets[symbol]))
        exchange = Exchange(self.settings.clock.now_ms, bank)
        for symbol in self.settings.perpetuals:
            if symbol not in PERPETUALS:
                raise UnknownSymbol(symbol)
            self._list(exchange, PERPETUALS[symbol], f"{self.settings.seed}/binance_usdm")
        return BinanceUsdm(exchange, bank, self.faults, self.sockets, self.settings.usdm_budgets)

    def _list(self, exchange: Exchange, instrument: Instrument, seed: str) -> None:
        """Opens a market that walks its own way."""
        source = RandomWalk(instrument, seed)
        exchange.list_market(instrument, make_tape(instrument, source.first_price, exchange.now_ms(), seed))
        self._other_sources.append((exchange, source))

    def _all_sources(self) -> list[tuple[Exchange, MarketSource]]:
        return [*((self.exchange, source) for source in self._sources), *self._other_sources]

    def _storm(self, symbol: str, storm: Storm) -> int:
        """Lets it blow at every venue that lists the symbol; at how many."""
        sources = [source for _, source in self._all_sources() if source.symbol == symbol]
        walks = [source for source in sources if isinstance(source, RandomWalk)]
        for walk in walks:
            walk.begin(storm)
            # In time even where this machine can't make so many steps.
            asyncio.get_running_loop().call_later(storm.seconds / self.settings.speed, walk.calm)
        return len(walks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_report_crash)
        self._tasks.append(task)

    def _prime(self, exchange: Exchange, source: MarketSource) -> None:
        """A first step before anybody connects, so that no book is ever empty."""
        for action in next(source.steps()).actions:
            action.apply(exchange, source.symbol)

    async def _play(self, exchange: Exchange, source: MarketSource) -> None:
        """Applies a source's steps when their time comes. Behind by more than a second, it goes on from now."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, step in enumerate(source.steps()):
            due = max(due + step.delay / self.settings.speed, loop.time() - _MAX_LAG_S)
            pause = due - loop.time()
            if pause > 0 or number % _STEPS_BETWEEN_BREATHS == 0:
                await asyncio.sleep(max(pause, 0))
            for action in step.actions:
                action.apply(exchange, source.symbol)


def _sources(settings: Settings) -> list[MarketSource]:
    """One per symbol; a recording replaces the walk of its symbol. Raises UnknownSymbol."""
    recording = Recording(settings.replay) if settings.replay else None
    symbols = dict.fromkeys([*([recording.symbol] if recording else []), *settings.symbols])
    unknown = [symbol for symbol in symbols if symbol not in INSTRUMENTS]
    if unknown:
        raise UnknownSymbol(", ".join(unknown))
    return [
        recording if recording and recording.symbol == symbol else RandomWalk(INSTRUMENTS[symbol], settings.seed)
        for symbol in symbols
    ]


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("simulator_task_crashed", exc_info=error)
