"""A process of its own that acts and records what it does, or seals, or tells what stands in the database.

``python -m tests.audit.writing act NAME``, ``seal``: until SIGTERM or killed. ``check``: prints what it found as JSON.
An act is a log-in attempt and its audit row in one transaction; its number is printed once it has committed.
"""

import asyncio
import signal
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

import django

django.setup()

from django.db import transaction  # noqa: E402  # models can be imported only now
from django.db.models import Count  # noqa: E402

from accounts.models import LoginAttempt  # noqa: E402
from accounts.tenancy import everyone  # noqa: E402
from audit.models import AuditLog, AuditSeal  # noqa: E402
from audit.record import record  # noqa: E402
from audit.sealer import Sealer, seal_all  # noqa: E402
from audit.verification import verify  # noqa: E402
from connections import database  # noqa: E402
from tests.bench.children import say  # noqa: E402


def act(name: str) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    number = 0
    while not ended:
        number += 1
        with transaction.atomic():
            LoginAttempt.objects.create(email=name, success=True)
            record("login.succeeded", user_id=None, resource_type="test", resource_id=name, details={"number": number})
        say(number)


async def seal() -> None:
    task = asyncio.create_task(Sealer(database.run, Counter()).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    say("ready")
    with suppress(asyncio.CancelledError):
        await task


def check() -> dict[str, Any]:
    """Acts and audit rows by name, and what verifying says before and after everything is sealed."""
    before = [str(finding) for finding in verify()]
    seal_all()
    with everyone():
        rows = AuditLog.objects.order_by().values_list("resource_id").annotate(Count("pk"))
        return {
            "acts": dict(LoginAttempt.objects.order_by().values_list("email").annotate(Count("pk"))),
            "rows": dict(rows.filter(resource_type="test")),
            "unsealed": AuditLog.objects.count() - AuditSeal.objects.count(),
            "findings": before + [str(finding) for finding in verify()],
        }


if __name__ == "__main__":
    if sys.argv[1] == "act":
        act(sys.argv[2])
    elif sys.argv[1] == "seal":
        asyncio.run(seal())
    else:
        say(check())
