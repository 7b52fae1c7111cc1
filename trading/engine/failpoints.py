"""Places where a test may stop or kill this process, to prove what survives it.

``DES_FAILPOINT=<name>:<kill|stop>`` arms one; it fires once an installation (a marker file in the data folder says so,
so that the process that takes over isn't hit again). Unarmed, a point costs one dictionary look-up.
"""

import os
import signal
import sqlite3
from pathlib import Path

import structlog
from django.conf import settings
from django.db import connection

log = structlog.get_logger(__name__)

# Tests read the calls of ``reach`` in the engine's code, and fail when one isn't here, or isn't tested.
POINTS = frozenset({
    "before_commit", "after_commit", "before_send", "after_send", "before_booking", "after_booking", "before_cancel",
    "after_cancel",
})  # fmt: skip
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def _armed() -> tuple[str, signal.Signals] | None:
    name, _, action = os.environ.get("DES_FAILPOINT", "").partition(":")
    return (name, _SIGNALS[action]) if name in POINTS and action in _SIGNALS else None


_ARMED = _armed()


def marker() -> Path:
    """Exists once the armed point has fired; holds the name of the point and the pid it hit."""
    return settings.DATA_DIR / "failpoint-fired"


def reach(point: str) -> None:
    """Called where the process may die; does so when the test armed this point and it hasn't fired yet."""
    if _ARMED is None or _ARMED[0] != point:
        return
    if not _claim(f"{point} {os.getpid()}"):
        return
    log.warning("failpoint_fired", point=point)
    if _ARMED[1] == signal.SIGSTOP and connection.vendor == "sqlite":
        _outlast_writers()
    os.kill(os.getpid(), _ARMED[1])


def _claim(text: str) -> bool:
    """Makes the marker, by the first who comes; whoever sees it there can read all of it."""
    draft = marker().with_suffix(f".{os.getpid()}")
    draft.write_text(text)
    try:
        marker().hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _outlast_writers() -> None:
    """Returns when no thread of this process is inside a transaction that writes. SQLite has one writer: who froze in
    it would freeze everybody, and nobody could take over."""
    database = sqlite3.connect(connection.settings_dict["NAME"], timeout=10, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    database.execute("ROLLBACK")
