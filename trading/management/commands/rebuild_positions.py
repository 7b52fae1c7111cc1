"""``manage.py rebuild_positions``: every position from its trades alone, compared with the stored one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from trading.rebuilding import all_users, differences


class Command(BaseCommand):
    """Changes nothing: a stored position is written only by the engine that owns its user."""

    help = "Rebuilds every position from its trades and compares it with the stored one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", metavar="EMAIL", help="only this user's positions")
        parser.add_argument("--check", action="store_true", help="end with exit code 1 if one differs")

    def handle(self, *args: Any, **options: Any) -> None:
        users = all_users()
        if email := options["user"]:
            users = list(User.objects.filter(email__iexact=email).values_list("pk", flat=True))
            if not users:
                raise CommandError(f"--user: nobody has the e-mail address {email!r}")
        found = [difference for user_id in users for difference in differences(user_id)]
        for difference in found:
            self.stdout.write(str(difference))
        told = f"{len(found)} positions of {len(users)} users differ from their trades"
        if found and options["check"]:
            raise CommandError(told)
        self.stdout.write(told)
