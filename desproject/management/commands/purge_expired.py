"""Removes rows of deleted users whose time of retention is over."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from desproject.retention import purge_expired


class Command(BaseCommand):
    help = "Removes rows of deleted users whose time of retention is over (audit 3 years, trading 7 years)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        total = 0
        for purged in purge_expired(dry_run=options["dry_run"]):
            total += purged.rows
            self.stdout.write(f"{purged.user_id or 'nobody known'}: {purged.rows} of {purged.table}")
        self.stdout.write(f"{total} rows {'would be removed' if options['dry_run'] else 'removed'}")
