"""Writes the audit log out as JSON Lines."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from accounts.tenancy import everyone
from audit.export import lines


class Command(BaseCommand):
    help = "Writes the audit log to standard output, one JSON object a line, oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", metavar="EMAIL", help="only this user's rows, deleted ones' too")
        parser.add_argument("--after", type=int, default=0, metavar="ID", help="only rows with a higher id")

    def handle(self, *args: Any, user: str | None, after: int, **options: Any) -> None:
        with everyone():
            users = None if user is None else list(User.objects.filter(email__iexact=user).values_list("pk", flat=True))
            if users == []:
                raise CommandError(f"there is no user {user}")
            for row in lines(users, after):
                self.stdout.write(row)
