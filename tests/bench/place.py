"""Where and when a figure was measured, and how busy the machine was: without that a figure says nothing."""

import os
import platform
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from django.db import connection

from desproject.config import BASE_DIR
from desproject.lib.clock import SYSTEM_CLOCK


def told() -> dict[str, Any]:
    """For a result's line. ``load`` is the machine's over the last minute, our own included."""
    return {
        "date": f"{SYSTEM_CLOCK.now():%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}",
        "server": _server(),
        "load": round(os.getloadavg()[0], 1),
    }


def _commit() -> str:
    """Marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--exclude=*"]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _server() -> str:
    if connection.vendor != "postgresql":
        return f"SQLite {sqlite3.sqlite_version}"
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
    return f"PostgreSQL {version.split()[0]}"
