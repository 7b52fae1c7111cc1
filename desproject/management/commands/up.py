"""Runs a whole installation on this machine."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from desproject.private_redis import RedisUnavailable
from desproject.supervisor import CannotStart, Supervisor


class Command(BaseCommand):
    """Every process logs to standard error, one JSON object a line with its process named in it."""

    help = "Runs every process of DES on this machine, starts again what dies; stops cleanly on SIGTERM and Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to serve on (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._run(options["host"], options["port"]))
        except (CannotStart, RedisUnavailable) as error:
            raise CommandError(str(error)) from None

    async def _run(self, host: str, port: int) -> None:
        supervisor = Supervisor(host, port)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.request_stop)
        await supervisor.run()
