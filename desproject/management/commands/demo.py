"""Shows DES at work: a simulated exchange, two users who trade on it, and a check that everything adds up."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from desproject.demo.run import Demo, DemoFailed, Options, Outcome
from desproject.lib.crypto import new_master_key
from desproject.private_redis import RedisUnavailable
from desproject.supervisor import CannotStart

_MARKETS = ("BTC/USDT", "ETH/USDT")
# The random market's trends then turn every few seconds, so there is something to see.
_WALK_SPEED = 3.0


class Command(BaseCommand):
    """Nothing is needed: keys, data folder, database and Redis are made for the run, unless the environment names
    a database or a Redis. The last line on standard output is the result."""

    help = "Runs DES against a simulated exchange with two users who trade; compares every order and fill at the end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--for", dest="seconds", type=float, help="seconds to trade (default: until Ctrl-C)")
        parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (default: %(default)s)")
        parser.add_argument("--replay", type=Path, metavar="FILE", help="a recorded market instead of a random one")
        parser.add_argument(
            "--speed",
            type=float,
            help=f"how much faster the market runs (default: {_WALK_SPEED:g}, a recording at its own pace)",
        )
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same random market")
        parser.add_argument("--data", type=Path, metavar="DIR", help="empty folder to keep everything in")
        parser.add_argument("--json", action="store_true", help="the result as one line of JSON on standard output")
        parser.add_argument("--prepared", type=Path, help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["prepared"] is None:
            _start_over(_fresh_folder(options["data"]))
        outcome = self._run(_options(options))
        if outcome is not None:
            self._report(outcome, as_json=options["json"])
        failed = outcome is not None and (outcome.mismatches or (options["seconds"] and not outcome.everybody_traded))
        if options["data"] is None and not failed:
            shutil.rmtree(settings.DATA_DIR, ignore_errors=True)
        if failed:
            sys.exit(1)

    def _run(self, options: Options) -> Outcome | None:
        try:
            return asyncio.run(_run_demo(options))
        except (CannotStart, RedisUnavailable, DemoFailed) as error:
            raise CommandError(f"{error} (logs: {settings.DATA_DIR / 'log'})") from None

    def _report(self, outcome: Outcome, *, as_json: bool) -> None:
        for mismatch in outcome.mismatches:
            self.stderr.write(str(mismatch))
        if not outcome.everybody_traded:
            self.stderr.write("Not everybody traded.")
        if as_json:
            self.stdout.write(json.dumps(outcome.as_json()))
            return
        told = outcome.as_json()
        self.stdout.write(
            f"{told['signals']} signals, orders {told['orders']}, {told['trades']} trades; "
            f"the exchange saw {told['simulator']['orders']} orders and {told['simulator']['fills']} fills; "
            f"{told['mismatches']} mismatches."
        )


async def _run_demo(options: Options) -> Outcome | None:
    demo = Demo(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, demo.request_stop)
    return await demo.run()


def _fresh_folder(wanted: Path | None) -> Path:
    if wanted is None:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Path(tempfile.mkdtemp(prefix="demo-", dir=settings.DATA_DIR.absolute()))
    wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(wanted.iterdir()):
        raise CommandError(f"{wanted} isn't empty: the demo wants a folder of its own")
    return wanted.absolute()


def _start_over(folder: Path) -> None:
    """Runs this command again with the environment that the demo's processes live in: settings are read only once."""
    environment = {**os.environ, "DES_DATA_DIR": str(folder)}
    if not any(name.startswith("MASTER_ENCRYPTION_KEY") for name in environment):
        # A database that outlives this run must not hold a signing key that nobody can open any more.
        environment |= {"MASTER_ENCRYPTION_KEY": new_master_key(), "JWT_SECRET": secrets.token_urlsafe(32)}
    sys.stdout.flush()
    command = [sys.executable, sys.argv[0], *sys.argv[1:], "--skip-checks", "--prepared", str(folder)]
    os.execve(sys.executable, command, environment)  # noqa: S606  # ourselves


def _options(options: dict[str, Any]) -> Options:
    speed = options["speed"] or (1.0 if options["replay"] else _WALK_SPEED)
    exchange = ["--port", "0", "--seed", str(options["seed"]), "--speed", str(speed)]
    symbols = _MARKETS
    if options["replay"] is not None:
        if not options["replay"].is_file():
            raise CommandError(f"there is no recording {options['replay']}")
        symbols = (_MARKETS[0], _MARKETS[0])
        exchange += ["--replay", str(options["replay"].absolute())]
    exchange += ["--symbols", ",".join(sorted({symbol.replace("/", "") for symbol in symbols}))]
    port = options["port"] or _free_port(options["host"])
    return Options(options["host"], port, options["seconds"], exchange, symbols)


def _free_port(host: str) -> int:
    with contextlib.closing(socket.create_server((host, 0))) as server:
        port: int = server.getsockname()[1]
        return port
