"""Which processes hold which master keys.

Every process that opens keys says so in a row of its own, again and again: a rotation must not seal anything under a
key that one of them lacks (KEY-4). In the database, because Redis may be away.
"""

import os
import threading
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from connections.models import KeyHolder, Process
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.crypto import Keyring
from desproject.lib.custody import keyring

log = structlog.get_logger(__name__)

REPORT_SECONDS = 10.0
# Who was silent for longer is dead.
LIFE_SECONDS = 40.0
_KEPT = timedelta(days=1)

_reporting_pid = 0


def start(**_: Any) -> None:
    """Reports this process from now on; a second call does nothing. Not inherited by forked children.

    Receives django-q's signal that a worker was forked.
    """
    global _reporting_pid
    if _reporting_pid == os.getpid():
        return
    _reporting_pid = os.getpid()
    threading.Thread(target=_report_for_ever, name="key-holder", daemon=True).start()


def report(holder: uuid.UUID) -> None:
    """One sign of life of this process. Fingerprints tell apart keys that two machines gave the same version."""
    now = SYSTEM_CLOCK.now()
    KeyHolder.objects.update_or_create(
        pk=holder,
        defaults={
            "role": settings.ROLE,
            "host": settings.CONFIG.host,
            "pid": os.getpid(),
            "fingerprints": {str(version): mark for version, mark in keyring().fingerprints().items()},
            "seen_at": now,
        },
    )
    KeyHolder.objects.filter(seen_at__lt=now - _KEPT).delete()


def forget(host: str) -> None:
    """For whoever knows that no process of this host is left."""
    KeyHolder.objects.filter(host=host).delete()


def who_lacks_newest(keys: Keyring, now: datetime) -> list[str]:
    """The living processes that can't open what is sealed under the newest of these keys, each with its reason."""
    mark = keys.fingerprints()[keys.newest]
    holders = list(KeyHolder.objects.filter(seen_at__gt=now - timedelta(seconds=LIFE_SECONDS)).order_by("host", "pid"))
    lacking = [
        f"{holder} ({_lack(found)})"
        for holder in holders
        if (found := holder.fingerprints.get(str(keys.newest))) != mark
    ]
    return lacking + _silent(holders, now)


def _lack(found: str | None) -> str:
    return "has another key of that version" if found else "doesn't have it"


def _silent(holders: list[KeyHolder], now: datetime) -> list[str]:
    """Engines and streams that live, yet don't tell what they hold."""
    told = {(holder.host, holder.pid) for holder in holders}
    alive = Process.objects.filter(seen_at__gt=now - timedelta(seconds=settings.CONFIG.lease_seconds))
    return sorted({f"{row} (doesn't tell)" for row in alive if (row.host, row.pid) not in told})


def _report_for_ever() -> None:
    holder = uuid.uuid4()
    while True:
        try:
            report(holder)
        except (DatabaseError, InterfaceError) as error:
            log.warning("keys_not_reported", error=type(error).__name__)
        finally:
            connections.close_all()  # of this thread: none is kept for one row in ten seconds
        time.sleep(REPORT_SECONDS)
