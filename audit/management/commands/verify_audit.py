"""Checks that nobody changed the audit log."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.heads import HeadUnreadable, heads_file, read
from audit.models import AuditSeal
from audit.verification import verify


class Command(BaseCommand):
    """Reads only. Exit code 1 when anything was found, each finding on a line of its own."""

    help = "Names every row of the audit log that was altered, removed, inserted or moved, and a cut tail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--heads", type=Path, help="a file of exported heads; without it, the one in the data folder"
        )

    def handle(self, *args: Any, heads: Path | None, **options: Any) -> None:
        if heads is not None and not heads.exists():
            raise CommandError(f"{heads} doesn't exist")
        try:
            known = list(read(heads or heads_file()))
        except HeadUnreadable as error:
            raise CommandError(f"not a head: {error}") from None
        found = 0
        for finding in verify(known):
            found += 1
            self.stdout.write(str(finding))
        if found:
            raise CommandError(f"{found} faults found")
        sealed = AuditSeal.objects.count()
        self.stdout.write(f"{sealed} sealed rows, {len(known)} exported heads: all as they were written")
