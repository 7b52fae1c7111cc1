"""A pytest plug-in that prepares the environment before Django's settings are read.

A fresh master key and data folder, whatever the developer's shell holds; of REDIS_URL each parallel worker takes a
database number of its own. The data folder is kept in memory where there is room: SQLite waits for the disk at every
commit, and a disk that stalls for seconds makes tests fail that count on a database to be free.
"""

import atexit
import os
import shutil
import tempfile
from urllib.parse import urlsplit, urlunsplit

from desproject.lib.crypto import new_master_key

_MEMORY = "/dev/shm"  # noqa: S108 a folder of its own is made in it
_ROOM_BYTES = 2 * 1024**3


def _place() -> str | None:
    """Where temporary files go; None is the usual place."""
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    return _MEMORY if roomy else None


def _own_database(redis_url: str, worker: int) -> str:
    parts = urlsplit(redis_url)
    return urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/') or 0) + worker}"))


def _prepare(worker: str) -> None:
    if not worker:
        base = tempfile.mkdtemp(prefix="des-test-", dir=_place())
        atexit.register(shutil.rmtree, base, ignore_errors=True)
        os.environ["MASTER_ENCRYPTION_KEY"] = new_master_key()
        os.environ["MASTER_KEY_SOURCE"] = "environment"
        os.environ["DES_DATA_DIR"] = base
        os.environ.setdefault("LOG_LEVEL", "WARNING")
        # Where the gate before live trading is the subject, a test sets it.
        os.environ.setdefault("DRY_RUN_SECONDS", "0")
        return
    os.environ["DES_DATA_DIR"] = tempfile.mkdtemp(prefix=f"{worker}-", dir=os.environ["DES_DATA_DIR"])
    if os.environ.get("REDIS_URL", "").startswith("redis"):
        os.environ["REDIS_URL"] = _own_database(os.environ["REDIS_URL"], int(worker.removeprefix("gw")))


_prepare(os.environ.get("PYTEST_XDIST_WORKER", ""))
