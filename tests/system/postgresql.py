"""A PostgreSQL cluster of our own, for what restarts it: the machine's may serve others."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg

_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_AS_THE_README_SAYS = (
    "CREATE ROLE des LOGIN",
    "CREATE DATABASE des OWNER des",
    "CREATE ROLE des_system NOLOGIN",
    "GRANT des_system TO des",
)


class Cluster:
    """A PostgreSQL of our own, run as an unprivileged user: the server refuses to be root."""

    @staticmethod
    def is_possible() -> bool:
        """Whether a PostgreSQL server is installed here."""
        return bool(_POSTGRES)

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="des-postgres-"))
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            found = pwd.getpwnam(self._user)
            os.chown(self._folder, found.pw_uid, found.pw_gid)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = server.getsockname()[1]
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        self._control("start")
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            for statement in _AS_THE_README_SAYS:
                connection.execute(statement)

    @property
    def url(self) -> str:
        return self._url("des")

    def restart(self, mode: str) -> None:
        self._control("restart", f"--mode={mode}")

    def destroy(self) -> None:
        self._control("stop", "--mode=immediate")
        shutil.rmtree(self._folder)

    def _control(self, action: str, *arguments: str) -> None:
        options = f"-h 127.0.0.1 -p {self._port} -k {self._folder}"
        self._run("pg_ctl", action, "--wait", f"--log={self._folder}/log", f"--options={options}", *arguments)

    def _url(self, role: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self._port}/{role}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_POSTGRES[-1] / program), f"--pgdata={self._folder}/data", *arguments]
        # No pipe: the server would inherit it, and whoever reads it would wait for the server's end.
        subprocess.run(
            command, check=True, user=self._user, group=self._user, cwd=self._folder,
            extra_groups=[] if self._user else None, stdout=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
