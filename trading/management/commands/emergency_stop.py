"""Stops all trading of the installation at once, and lets it go on: the kill switch of the whole system (RSK-6)."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Role, User
from accounts.tenancy import everyone, tenant_scope
from desproject.lib.errors import DomainError
from risk.models import KillLevel
from risk.services import lift_all, press_kill_switch
from trading.models import Order
from trading.order_states import OPEN

_LOOK_SECONDS = 0.5
_CHECK_LIST = """\
Before trading goes on, all of these are true:
  - the cause is known, and is over
  - /api/health/ready names nothing that is down
  - no order is `unknown`, and open orders and positions agree with the exchanges
  - every key that may have leaked was replaced
Say so with --checked."""


class Command(BaseCommand):
    help = (
        "Stops all trading of the installation: nothing new is sent, open orders are cancelled. It holds over "
        "restarts, until --lift."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="kept in the audit log, and shown to every user")
        parser.add_argument("--flatten", action="store_true", help="also sell what is held, at market")
        parser.add_argument("--lift", action="store_true", help="let trading go on")
        parser.add_argument("--checked", action="store_true", help="with --lift: the check list was gone through")
        parser.add_argument("--as", dest="email", metavar="EMAIL", help="the administrator who acts (else the first)")
        parser.add_argument(
            "--wait", type=float, default=30.0, metavar="SECONDS", help="how long to watch open orders end (default 30)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["lift"] and options["flatten"]:
            raise CommandError("--flatten is for stopping, not for --lift")
        administrator = _administrator(options["email"])
        try:
            with tenant_scope(administrator.pk):
                if options["lift"]:
                    self._lift(administrator, options)
                else:
                    self._stop(administrator, options)
        except DomainError as error:
            raise CommandError(error.message) from error

    def _stop(self, administrator: User, options: dict[str, Any]) -> None:
        press_kill_switch(
            user=administrator, level=KillLevel.SYSTEM, target_id=administrator.pk, reason=options["reason"],
            flatten=options["flatten"],
        )  # fmt: skip
        self.stdout.write(f"Trading is stopped, by {administrator.email}: {options['reason']}")
        left = _watch(options["wait"])
        if left:
            self.stderr.write(f"{left} orders are still open: is an engine running? The stop holds all the same.")
            sys.exit(2)
        self.stdout.write("No order is open.")

    def _lift(self, administrator: User, options: dict[str, Any]) -> None:
        if not options["checked"]:
            raise CommandError(_CHECK_LIST)
        lift_all(
            user=administrator, level=KillLevel.SYSTEM, target_id=administrator.pk, reason=options["reason"]
        )
        self.stdout.write(f"Trading goes on: {options['reason']}")


def _administrator(email: str | None) -> User:
    rows = User.objects.filter(role=Role.ADMINISTRATOR, is_active=True, is_deleted=False)
    if email is not None:
        rows = rows.filter(email__iexact=email)
    found: User | None = rows.order_by("created_at").first()
    if found is None:
        nobody = "there is no administrator: manage.py createsuperuser makes one"
        raise CommandError(f"{email} is no administrator" if email else nobody)
    return found


def _watch(seconds: float) -> int:
    """How many orders are open after at most so long; returns at once when none is."""
    end = time.monotonic() + seconds
    while (left := _open_orders()) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return left


def _open_orders() -> int:
    with everyone():
        return int(Order.objects.filter(status__in=OPEN).count())
