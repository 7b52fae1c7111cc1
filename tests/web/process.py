"""A web process of its own, real HTTP and all, on the database and the Redis that the test itself looks into."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from django.conf import settings
from django.db import connection

from desproject.config import BASE_DIR


@contextmanager
def serving(environment: Mapping[str, str], *options: str) -> Iterator[str]:
    """The URL of a web process that answers; it ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = ("-v", "0", "-b", "127.0.0.1", "-p", str(port))
    command = [sys.executable, "-m", "desproject.web_server", *here, *options, "desproject.asgi:application"]
    own = {"DES_ROLE": "web", "DATABASE_URL": _database_url(), "REDIS_URL": settings.REDIS_URL, "LOG_LEVEL": "ERROR"}
    process = subprocess.Popen(command, cwd=BASE_DIR, env={**os.environ, **own, **environment})
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _database_url() -> str:
    """Of the test's own database, which has another name than the one that the settings began with."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlunsplit(urlsplit(settings.CONFIG.database_url)._replace(path=f"/{name}"))


def _wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{url}/api/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    pytest.fail(f"no web process answers at {url}")
