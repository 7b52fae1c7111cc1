"""What benchmarks run on: a Redis, and for each a database of its own, all taken away at the end.

SQLite lies in a temporary folder (``TMPDIR`` chooses the disk). PostgreSQL is where ``DATABASE_URL`` says, by a role
that may create databases; Redis where ``REDIS_URL`` says (a database number that is empty), else a private server.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from desproject import private_redis
from desproject.config import BASE_DIR
from desproject.lib.crypto import new_master_key

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_OWN_VARIABLES = ("DES_ROLE", "DES_FAILPOINT", "SIMULATOR_URL", "DATABASE_URL", "REDIS_URL", "JWT_SECRET")
Environment = dict[str, str]


@contextmanager
def data_folder() -> Iterator[Environment]:
    """The environment of processes that keep their things in a folder of their own; nothing of ours leaks into it."""
    folder = tempfile.mkdtemp(prefix="des-bench-")
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}
    own = {
        "DES_DATA_DIR": folder, "MASTER_ENCRYPTION_KEY": new_master_key(), "LOG_LEVEL": "ERROR",
        "RATE_LIMIT_ORDERS": "10000", "DRY_RUN_SECONDS": "0",
    }  # fmt: skip
    try:
        yield {**inherited, **own, "DJANGO_SETTINGS_MODULE": "desproject.settings"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server(environment: Mapping[str, str]) -> Iterator[str]:
    """The URL of an empty Redis."""
    if url := os.environ.get("REDIS_URL"):
        client = redis.Redis.from_url(url)
        if client.dbsize():
            sys.exit("the database that REDIS_URL names isn't empty, and benchmarks would empty it: name another one")
        yield url
        client.flushdb()
        client.close()
        return
    socket = private_redis.socket_path(Path(environment["DES_DATA_DIR"]))
    server = subprocess.Popen(private_redis.command(socket, flushable=True), stdout=subprocess.DEVNULL)
    try:
        _wait_for(f"unix://{socket}")
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(url: str, seconds: float = 10) -> None:
    client, end = redis.Redis.from_url(url), time.monotonic() + seconds
    while True:
        try:
            client.ping()
            return
        except redis.RedisError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class Databases:
    """Migrated databases of one kind, copied from a first one that is never used."""

    def __init__(self, kind: str, environment: Environment) -> None:
        self.kind = kind
        self._environment = environment
        self._folder = Path(environment["DES_DATA_DIR"])
        self._admin_url = os.environ.get("DATABASE_URL", "")
        self._template = self._url(self._create())
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=BASE_DIR, env=environment | {"DATABASE_URL": self._template}, check=True)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The DATABASE_URL of an empty, migrated database."""
        name = self._create(self._template.rpartition("/")[2])
        try:
            yield self._url(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        self._drop(self._template.rpartition("/")[2])

    def _url(self, name: str) -> str:
        if self.kind == SQLITE:
            return f"sqlite:///{self._folder / name}"
        return f"{self._admin_url.rpartition('/')[0]}/{name}"

    def _create(self, template: str = "") -> str:
        name = f"des_bench_{secrets.token_hex(4)}"
        if self.kind == SQLITE:
            if template:
                shutil.copy(self._folder / template, self._folder / name)
        else:
            like = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
            self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + like)
        return name

    def _drop(self, name: str) -> None:
        if self.kind == SQLITE:
            for path in self._folder.glob(f"{name}*"):
                path.unlink()
        else:
            self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(statement)
