"""Counts of the risk register for the installation's operators (RSK-7)."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.tenancy import everyone
from desproject.lib.clock import SYSTEM_CLOCK
from risk.register import follow
from risk.report import Count, Period, report


class Command(BaseCommand):
    help = "How many risk events there were in each week, month or quarter, of all users, by type and severity."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--period", choices=[each.value for each in Period], default=Period.WEEKLY.value)
        parser.add_argument("--count", type=int, default=12, metavar="N", help="how many periods (default 12)")
        parser.add_argument("--json", action="store_true", help="one line of JSON for each period")

    def handle(self, *args: Any, **options: Any) -> None:
        follow()  # what happened just now counts too
        with everyone():
            counts = report(Period(options["period"]), max(1, options["count"]), SYSTEM_CLOCK.now())
        for count in counts:
            self.stdout.write(_as_json(count) if options["json"] else _as_text(count))


def _as_json(count: Count) -> str:
    return json.dumps({**asdict(count), "start": count.start.isoformat()})


def _as_text(count: Count) -> str:
    parts = [f"{name} {number}" for found in (count.by_severity, count.by_type) for name, number in found.items()]
    return f"from {count.start}: {count.events} events, {count.open} open" + (f" ({', '.join(parts)})" if parts else "")
