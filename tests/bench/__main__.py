"""Runs benchmarks one after the other, each in a process and on a database of its own; prints their lines."""

import argparse
import os
import subprocess
import sys
from contextlib import closing

import redis

from desproject.config import BASE_DIR
from tests.bench import names
from tests.bench.services import POSTGRESQL, SQLITE, Databases, Environment, data_folder, redis_server


def main() -> int:
    wanted = _arguments()
    chosen = wanted.names or [*names.ON_A_DATABASE, *names.WITHOUT]
    failed = 0
    with data_folder() as environment, redis_server(environment) as redis_url:
        environment |= {"REDIS_URL": redis_url}
        stored = [name for name in chosen if name in names.ON_A_DATABASE]
        for kind in _kinds(wanted.database) if stored else ():
            with closing(Databases(kind, environment)) as databases:
                for name in stored:
                    with databases.fresh() as url:
                        failed += _run(name, wanted.seconds, environment | {"DATABASE_URL": url})
        for name in [name for name in chosen if name in names.WITHOUT]:
            failed += _run(name, wanted.seconds, environment | {"DATABASE_URL": "sqlite:///:memory:"})
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    known = [*names.ON_A_DATABASE, *names.WITHOUT]
    parser.add_argument("names", nargs="*", metavar="name", help=f"all by default: {', '.join(known)}")
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL, "both"), default="both")
    parser.add_argument("--seconds", type=float, default=10, help="of measuring each side, 10 by default")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(known):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    return wanted


def _kinds(database: str) -> list[str]:
    kinds = [SQLITE, POSTGRESQL] if database == "both" else [database]
    if POSTGRESQL in kinds and not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        _tell("PostgreSQL is left out: DATABASE_URL names none")
        kinds.remove(POSTGRESQL)
    return kinds


def _run(name: str, seconds: float, environment: Environment) -> bool:
    """Whether it failed."""
    redis.Redis.from_url(environment["REDIS_URL"]).flushdb()
    command = [sys.executable, "-m", "tests.bench.run", name, str(seconds)]
    code = subprocess.run(command, cwd=BASE_DIR, env=environment, check=False).returncode
    if code:
        _tell(f"{name} failed ({code})")
    return bool(code)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
