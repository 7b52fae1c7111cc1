"""``manage.py create_beta_code``: lets somebody register."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import beta_codes
from accounts.journal import record
from desproject.lib.clock import SYSTEM_CLOCK


class Command(BaseCommand):
    help = "Makes a code that lets people register while BETA_CODES_REQUIRED is set. It is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--note", default="", help="what it is for, as operators will read it")
        parser.add_argument("--uses", type=int, default=1, help="how many may register with it (1)")
        parser.add_argument("--days", type=int, help="how many days it is valid (for ever)")

    def handle(self, *args: Any, note: str, uses: int, days: int | None, **options: Any) -> None:
        if uses < 1 or (days is not None and days < 1):
            raise CommandError("--uses and --days must be at least 1")
        expires_at = SYSTEM_CLOCK.now() + timedelta(days=days) if days else None
        code = beta_codes.create(note=note, max_uses=uses, expires_at=expires_at)
        record("beta_code.created", user_id=None, resource_type="beta_code", details={"note": note, "uses": uses})
        self.stdout.write(code)
