"""Gives what was imported from a former installation to a real user."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connections.custody import CredentialsUnreadable
from desproject.legacy.handover import NothingToHandOver, hand_over
from desproject.management.batches import ProgressBar, batch_size


class Command(BaseCommand):
    """May be killed at any moment, and run again."""

    help = "Hands an imported installation's rows to a user, and removes the default user that they belonged to."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", required=True, metavar="EMAIL", help="of the user who gets everything")
        parser.add_argument("--name", default="legacy", help="as it was imported (default: %(default)s)")
        parser.add_argument("--batch-size", type=batch_size, default=100, help="rows a transaction, 100 by default")

    def handle(self, *args: Any, to: str, **options: Any) -> None:
        bar = ProgressBar(self.stdout)
        try:
            for done, total in hand_over(options["name"], to, batch_size=options["batch_size"]):
                bar.show(done, total)
        except (NothingToHandOver, CredentialsUnreadable) as error:
            raise CommandError(error.args[0]) from None
        bar.end()
        self.stdout.write(f"everything is {to}'s now; test each connection's key before it trades")
