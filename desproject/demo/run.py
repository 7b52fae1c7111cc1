"""One run of the demonstration, from an empty data folder to the comparison of every order, fill and balance."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from accounts.models import User
from connections import database
from desproject.demo.exchange import Exchange, ExchangeFailed, simulated_exchange
from desproject.demo.figures import Figures, read_figures, read_latency
from desproject.demo.tenants import Api, ApiFailed, Tenant, plans
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.mismatches import Mismatch, compare
from desproject.supervisor import Supervisor

log = structlog.get_logger(__name__)

NAMES = ("alice", "bob")
QUIET_SECONDS = 20.0
_SECONDS_BETWEEN_LINES = 10.0


class DemoFailed(Exception):
    """The run can't go on; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the run is asked to do. ``seconds`` None runs until it is stopped."""

    host: str
    port: int
    seconds: float | None
    exchange: Sequence[str]
    symbols: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    figures: Figures
    latency: dict[str, Any]
    exchange_orders: int
    exchange_fills: int
    mismatches: list[Mismatch]

    @property
    def everybody_traded(self) -> bool:
        return self.figures.traders == len(NAMES)

    def as_json(self) -> dict[str, Any]:
        figures = asdict(self.figures)
        return {
            **{name: figures[name] for name in ("ticks", "signals", "orders", "trades", "traders")},
            "simulator": {"orders": self.exchange_orders, "fills": self.exchange_fills},
            "mismatches": len(self.mismatches),
            "latency": self.latency,
        }


class Demo:
    """Runs once."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._started_at = SYSTEM_CLOCK.now()
        self._tenants: list[Tenant] = []
        self._supervisor: Supervisor | None = None

    def request_stop(self) -> None:
        """For signal handlers: the first call ends the trading and compares, the second one only stops."""
        if self._stop.is_set() and self._supervisor:
            self._supervisor.request_stop()
        self._stop.set()

    async def run(self) -> Outcome | None:
        """None when it was stopped before anybody could trade. Raises DemoFailed and what Supervisor.run raises."""
        try:
            logs = settings.DATA_DIR / "log"
            logs.mkdir(parents=True, exist_ok=True)
            async with (
                simulated_exchange(self._options.exchange, logs / "simexchange.log") as exchange,
                self._installation(exchange, logs),
                _session() as session,
            ):
                return await self._trade(exchange, session)
        except (ExchangeFailed, ApiFailed) as error:
            raise DemoFailed(str(error)) from None
        finally:
            await asyncio.to_thread(database.shut_down)

    @asynccontextmanager
    async def _installation(self, exchange: Exchange, logs: Path) -> AsyncIterator[None]:
        """All processes of DES, ready to be used; drained and ended with the block."""
        # Nothing of it is real: its strategies trade at once.
        environment = {"SIMULATOR_URL": exchange.url, "DRY_RUN_SECONDS": "0"}
        supervisor = Supervisor(self._options.host, self._options.port, log_dir=logs, environment=environment)
        self._supervisor = supervisor
        running = asyncio.create_task(supervisor.run())
        ready = asyncio.create_task(supervisor.ready())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({running, ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in (running, ready):
                if task.done():
                    task.result()
            yield
        finally:
            ready.cancel()
            stopped.cancel()
            supervisor.stop.set()
            await running

    async def _trade(self, exchange: Exchange, session: aiohttp.ClientSession) -> Outcome | None:
        api = Api(self._url, session)
        if self._stop.is_set():
            return None
        suffix = await database.run(_suffix)
        for name in NAMES:
            email, password = f"{name}{suffix}@example.org", f"demo-{secrets.token_urlsafe(9)}"
            self._tenants.append(await api.create_tenant(email, password, exchange, plans(self._options.symbols)))
        self._greet()
        self._note(exchange)
        await self._watch()
        for tenant in self._tenants:
            await api.stop_strategies(tenant)
        return await self._settle(exchange)

    async def _watch(self) -> None:
        """Says once in a while how it goes, until the time is over or somebody stops us."""
        seconds = self._options.seconds
        end = None if seconds is None else time.monotonic() + seconds
        next_line = 0.0
        while not self._stop.is_set() and (end is None or time.monotonic() < end):
            with suppress(DatabaseError, InterfaceError):
                figures = await self._figures()
                if sys.stderr.isatty() or time.monotonic() >= next_line:
                    _say_figures(figures)
                    next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0 if end is None else min(1.0, end - time.monotonic()))
        if sys.stderr.isatty():
            _say("")

    async def _settle(self, exchange: Exchange) -> Outcome:
        """Waits until the last reports are in, and compares. What still differs after that is a mismatch."""
        keys = {connection: key for tenant in self._tenants for connection, key in tenant.keys.items()}
        end = time.monotonic() + QUIET_SECONDS
        while True:
            figures = await self._figures()
            ledger = await exchange.ledger()
            mismatches = await database.run(compare, ledger, keys, self._users)
            if (not mismatches and not figures.open_orders) or time.monotonic() > end:
                break
            await asyncio.sleep(0.5)
        accounts = [ledger["accounts"][key] for key in keys.values()]
        return Outcome(
            figures=await self._figures(),
            latency=await database.run(read_latency, self._users),
            exchange_orders=sum(len(account["orders"]) for account in accounts),
            exchange_fills=sum(len(account["fills"]) for account in accounts),
            mismatches=mismatches,
        )

    async def _figures(self) -> Figures:
        return await database.run(read_figures, self._users, self._started_at)

    @property
    def _users(self) -> list[Any]:
        return [tenant.id for tenant in self._tenants]

    @property
    def _url(self) -> str:
        if self._supervisor is None:
            raise DemoFailed("not started")
        return self._supervisor.url

    def _note(self, exchange: Exchange) -> None:
        """Leaves, for programs that join in, where everything is."""
        told = {
            "url": self._url,
            "users": [{"email": tenant.email, "password": tenant.password} for tenant in self._tenants],
            "exchange": {"url": exchange.url, "control": exchange.control_url, "token": exchange.control_token},
        }
        path = settings.DATA_DIR / "demo.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(told))

    def _greet(self) -> None:
        _say(f"\nDES is trading on a simulated exchange: {self._url}/")
        for tenant in self._tenants:
            _say(f"  log in as {tenant.email} with password {tenant.password}")
        _say(f"Logs and data: {settings.DATA_DIR}. Ctrl-C stops.\n")


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))


def _suffix() -> str:
    """Nothing in a fresh database; something new where users exist already."""
    return f"+{secrets.token_hex(3)}" if User.objects.exists() else ""


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _say_figures(figures: Figures) -> None:
    orders = sum(figures.orders.values())
    line = f"{figures.ticks} ticks, {figures.signals} signals, {orders} orders, {figures.trades} trades"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line:<78}")
        sys.stderr.flush()
    else:
        _say(line)

