"""Seals every stored key anew under the newest master key."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from desproject.lib.custody import keyring
from desproject.management.batches import ProgressBar, batch_size
from desproject.rotation import KEPT, NotEverybodyReady, Progress, RotationFault, rotate


class Command(BaseCommand):
    """May be killed at any moment, and run again. Exit code 1 when a row is left that the newest key doesn't open."""

    help = "Seals API keys, second factors and stored keys anew under the newest master key, while DES runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--batch-size", type=batch_size, default=100, help="rows a transaction, 100 by default")
        parser.add_argument("--dry-run", action="store_true", help="opens every row, writes nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        bar, progress = ProgressBar(self.stdout), Progress(0)
        try:
            for progress in rotate(keyring(), batch_size=options["batch_size"], dry_run=dry_run):
                bar.show(progress.done, progress.total)
        except NotEverybodyReady as error:
            raise CommandError(
                f"{error}. Start these with the new key, then run this again. "
                f"{progress.resealed} rows were sealed anew; all of them can be read."
            ) from None
        except RotationFault as error:
            raise CommandError(str(error)) from None
        bar.end()
        left = self._tell(progress, dry_run=dry_run)
        if progress.unreadable:
            raise CommandError(f"{len(progress.unreadable)} rows can't be opened; they stay as they are")
        if left and not dry_run:
            raise CommandError(f"{left} rows aren't sealed under the newest key: run this again")

    def _tell(self, progress: Progress, *, dry_run: bool) -> int:
        """What came of it, and how many rows each version holds now. Returns how many the newest doesn't."""
        for fault in progress.unreadable:
            self.stdout.write(f"can't be opened: {fault}")
        verb = "would be sealed anew" if dry_run else "sealed anew"
        self.stdout.write(f"{progress.resealed} rows {verb}, {progress.changed_meanwhile} changed meanwhile")
        newest = keyring().newest
        left = 0
        for kept in KEPT:
            held = kept.versions()
            left += sum(rows for version, rows in held.items() if version not in (newest, None))
            each = sorted(held.items(), key=lambda item: item[0] or 0)
            text = ", ".join(f"{f'version {version}' if version else 'no version'}: {rows}" for version, rows in each)
            self.stdout.write(f"{kept.name}: {text or 'none'}")
        return left
