"""Prints a fresh master key for MASTER_ENCRYPTION_KEY."""

from typing import Any

from django.core.management.base import BaseCommand

from desproject.lib.crypto import new_master_key


class Command(BaseCommand):
    """Writes nothing anywhere but to stdout: keeping the key is the operator's task."""

    help = "Prints a fresh master key (32 random bytes, base64) for MASTER_ENCRYPTION_KEY."
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own declaration

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(new_master_key())
