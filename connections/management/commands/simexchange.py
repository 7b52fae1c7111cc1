"""`manage.py simexchange`: the exchange simulator as a process of its own."""

import asyncio
import json
import signal
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from connections.simulator.binance.limits import Budgets
from connections.simulator.binance_usdm.front import usdm_budgets
from connections.simulator.binance_usdm.instruments import DEFAULT_PERPETUALS
from connections.simulator.control import AccountSpec, Refused
from connections.simulator.instruments import DEFAULT_SYMBOLS
from connections.simulator.krw.markets import DEFAULT_MARKETS
from connections.simulator.replay import BadRecording
from connections.simulator.server import Settings, SimulatorServer, UnknownSymbol


class Command(BaseCommand):
    help = (
        "Runs a simulator that speaks Binance spot, Binance USD-M futures, Upbit and Bithumb. "
        "Prints one line of JSON when it is ready."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django declares it so

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same market")
        parser.add_argument("--speed", type=float, default=1.0, help="divides the market's intervals")
        parser.add_argument("--replay", type=Path, help="a recording instead of the random walk of its symbol")
        parser.add_argument("--symbols", default=",".join(DEFAULT_SYMBOLS), help="separated by commas")
        parser.add_argument(
            "--won-markets", default=",".join(DEFAULT_MARKETS), help="of the won exchanges, separated by commas"
        )
        parser.add_argument(
            "--perpetuals", default=",".join(DEFAULT_PERPETUALS), help="contracts of USD-M futures, separated by commas"
        )
        parser.add_argument("--control-token", help="made up if not given")
        parser.add_argument("--accounts", type=Path, help="JSON list of accounts to create")
        parser.add_argument("--weight-limit", type=int, default=6000, help="request weight a minute and address")
        parser.add_argument("--order-limit", type=int, default=100, help="unfilled orders in 10 s and account")
        parser.add_argument("--usdm-weight-limit", type=int, default=2400, help="request weight of USD-M futures")
        parser.add_argument(
            "--usdm-order-limit", type=int, default=300,
            help="its orders in 10 s and account; four times as many a minute",
        )  # fmt: skip
        parser.add_argument(
            "--socket-life", type=float, default=86_400.0, help="seconds after which a websocket of Binance's ends"
        )
        parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every request")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            server = SimulatorServer(_settings(options))
        except (UnknownSymbol, BadRecording, Refused, OSError, msgspec.DecodeError) as error:
            raise CommandError(f"{type(error).__name__}: {error}") from error
        asyncio.run(self._run(server))

    async def _run(self, server: SimulatorServer) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with server:
            self.stdout.write(json.dumps(_ready_line(server)))
            self.stdout.flush()
            await stop.wait()


def _settings(options: dict[str, Any]) -> Settings:
    if options["speed"] <= 0:
        raise CommandError("--speed must be above 0")
    settings = Settings(
        host=options["host"],
        port=options["port"],
        seed=options["seed"],
        speed=options["speed"],
        replay=options["replay"],
        symbols=_names(options["symbols"]),
        won_markets=_names(options["won_markets"]),
        perpetuals=_names(options["perpetuals"]),
        accounts=_accounts(options["accounts"]),
        budgets=Budgets(weight=options["weight_limit"], orders_10s=options["order_limit"]),
        usdm_budgets=replace(
            usdm_budgets(),
            weight=options["usdm_weight_limit"],
            orders_10s=options["usdm_order_limit"],
            orders_1m=4 * options["usdm_order_limit"],
        ),
        latency_s=options["latency_ms"] / 1000,
        socket_life_s=options["socket_life"],
    )
    if options["control_token"]:
        settings.control_token = options["control_token"]
    return settings


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip().upper() for name in text.split(",") if name.strip())


def _accounts(path: Path | None) -> tuple[AccountSpec, ...]:
    """Raises OSError or msgspec.DecodeError for a file that can't be read or is no list of accounts."""
    return () if path is None else msgspec.json.decode(path.read_bytes(), type=tuple[AccountSpec, ...])


def _ready_line(server: SimulatorServer) -> dict[str, Any]:
    return {
        "ready": True,
        "rest": server.rest_url,
        "streams": server.stream_url,
        "ws_api": server.ws_api_url,
        "control": server.control_url,
        "control_token": server.settings.control_token,
    }
