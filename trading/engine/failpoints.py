"""Places where a test may stop or kill this process, to prove what survives it.

``DES_FAILPOINT=<name>:<kill|stop>`` arms one; it fires once an installation (a marker file in the data folder says so,
so that the process that takes over isn't hit again). Unarmed, a point costs one dictionary look-up.
"""

import os
import signal
from pathlib import Path

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

POINTS = frozenset({"before_commit", "after_commit", "before_send", "after_send", "before_booking", "after_booking"})
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
    try:
        with marker().open("x") as file:
            file.write(f"{point} {os.getpid()}")
    except FileExistsError:
        return
    log.warning("failpoint_fired", point=point)
    os.kill(os.getpid(), _ARMED[1])
