"""The simulator as a server: one port, one loop, every venue's paths."""

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from connections.simulator.binance_spot.front import WS_API, BinanceSpot
from connections.simulator.binance_spot.limits import Budgets
from connections.simulator.control import PREFIX, AccountSpec, Control
from connections.simulator.exchange import Exchange
from connections.simulator.faults import FaultBox
from connections.simulator.history import make_tape
from connections.simulator.instruments import DEFAULT_SYMBOLS, INSTRUMENTS
from connections.simulator.market import MarketSource
from connections.simulator.replay import Recording
from connections.simulator.sim_clock import ExchangeClock
from connections.simulator.sockets import Sockets
from connections.simulator.walk import RandomWalk

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
    clock: ExchangeClock = field(default_factory=ExchangeClock)


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
        self.sockets = Sockets()
        self.spot = BinanceSpot(self.exchange, self.faults, self.sockets, settings.budgets)
        self.spot.latency_s = settings.latency_s
        self.control = Control(
            settings.control_token, self.exchange, settings.clock, self.faults, self.sockets, self.spot
        )
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
        for source in self._sources:
            self._prime(source)
        http = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(http, handle_signals=False, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._spawn(self.spot.streams.run())
        self._spawn(self.sockets.keep_alive())
        for source in self._sources:
            self._spawn(self._play(source))

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

    # inside

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith(PREFIX):
            return await self.control.handle(request)
        if self.spot.serves(path):
            return await self.spot.handle(request)
        return web.Response(status=404)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_report_crash)
        self._tasks.append(task)

    def _prime(self, source: MarketSource) -> None:
        """A first step before anybody connects, so that no book is ever empty."""
        for action in next(source.steps()).actions:
            action.apply(self.exchange, source.symbol)

    async def _play(self, source: MarketSource) -> None:
        """Applies a source's steps when their time comes. Behind by more than a second, it goes on from now."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, step in enumerate(source.steps()):
            due = max(due + step.delay / self.settings.speed, loop.time() - _MAX_LAG_S)
            pause = due - loop.time()
            if pause > 0 or number % _STEPS_BETWEEN_BREATHS == 0:
                await asyncio.sleep(max(pause, 0))
            for action in step.actions:
                action.apply(self.exchange, source.symbol)


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
