"""Takes in a former single-user installation, sealing its plain keys on the way."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from desproject.legacy.importing import Importer, ImportFault, NotVerified, Progress
from desproject.legacy.source import SourceUnusable, opened
from desproject.management.batches import ProgressBar, batch_size


def _name(text: str) -> str:
    if not text.isascii() or not text.isalnum() or len(text) > 32:
        raise ArgumentTypeError("must be letters and digits, 32 at most")
    return text.lower()


class Command(BaseCommand):
    """May be killed at any moment, and run again. Exit code 1 when a row can't be taken in: it is named."""

    help = "Imports a former single-user installation with plain keys (docs/legacy.md): keys are sealed, then compared."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from", dest="where", required=True, metavar="FILE|URL", help="a SQLite file or a postgresql:// URL"
        )
        parser.add_argument("--name", type=_name, default="legacy", help="tells several apart (default: %(default)s)")
        parser.add_argument("--batch-size", type=batch_size, default=100, help="rows a transaction, 100 by default")
        parser.add_argument("--dry-run", action="store_true", help="reads every row, writes nothing")
        parser.add_argument(
            "--blank-source", action="store_true",
            help="empties the source's keys afterwards: only when every row was taken in and every key compared",
        )

    def handle(self, *args: Any, where: str, dry_run: bool, blank_source: bool, **options: Any) -> None:
        if dry_run and blank_source:
            raise CommandError("--dry-run writes nothing, --blank-source does: name one of them")
        try:
            with opened(where, to_write=blank_source) as source:
                importer = Importer(source, options["name"], options["batch_size"], dry_run)
                progress = self._import(importer)
                if blank_source and not progress.refused:
                    self._blank(importer, progress)
        except SourceUnusable as error:
            raise CommandError(str(error)) from None
        except (ImportFault, NotVerified) as error:
            raise CommandError(f"{error}. Its batch was left as it was.") from None
        if progress.refused:
            kept = "; the source keeps its keys" if blank_source else ""
            raise CommandError(f"{len(progress.refused)} rows can't be taken in{kept}")

    def _import(self, importer: Importer) -> Progress:
        bar, progress = ProgressBar(self.stdout), Progress(0)
        for progress in importer.run():
            bar.show(progress.done, progress.total)
        bar.end()
        for reason in progress.refused:
            self.stdout.write(f"can't be taken in: {reason}")
        verb = "would be imported" if importer.dry_run else "imported"
        self.stdout.write(f"{progress.imported} rows {verb}, {progress.found} were here already")
        return progress

    def _blank(self, importer: Importer, progress: Progress) -> None:
        bar, total = ProgressBar(self.stdout), importer.source.count("connections")
        for _ in importer.blank(progress):
            bar.show(progress.blanked, total)
        bar.end()
        self.stdout.write(f"{progress.blanked} connections of the source hold no key any more")
