"""A pytest plug-in that prepares the environment before Django's settings are read.

A fresh master key and data folder, whatever the developer's shell holds; of REDIS_URL each parallel worker takes a
database number of its own.
"""

import atexit
import os
import shutil
import tempfile
from urllib.parse import urlsplit, urlunsplit

from desproject.lib.crypto import new_master_key


def _own_database(redis_url: str, worker: int) -> str:
    parts = urlsplit(redis_url)
    return urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/') or 0) + worker}"))


def _prepare(worker: str) -> None:
    if not worker:
        base = tempfile.mkdtemp(prefix="des-test-")
        atexit.register(shutil.rmtree, base, ignore_errors=True)
        os.environ["MASTER_ENCRYPTION_KEY"] = new_master_key()
        os.environ["DES_DATA_DIR"] = base
        os.environ.setdefault("LOG_LEVEL", "WARNING")
        return
    os.environ["DES_DATA_DIR"] = tempfile.mkdtemp(prefix=f"{worker}-", dir=os.environ["DES_DATA_DIR"])
    if os.environ.get("REDIS_URL", "").startswith("redis"):
        os.environ["REDIS_URL"] = _own_database(os.environ["REDIS_URL"], int(worker.removeprefix("gw")))


_prepare(os.environ.get("PYTEST_XDIST_WORKER", ""))
