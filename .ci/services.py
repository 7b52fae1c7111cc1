"""A database and role of its own on the machine's PostgreSQL, and an empty database number of its Redis, for one run.

    check           ends with 1 and a line when a service isn't reachable
    create          makes a role that is no superuser, its system role and its database; prints their common name
    url NAME        the DATABASE_URL of it
    drop NAME       takes both away, and what tests made beside them
    redis           the REDIS_URL of a database number that is empty, with those after it
"""

import secrets
import sys

import psycopg
import redis
from psycopg import sql

_HOST = "127.0.0.1"
_ADMIN = f"postgresql://postgres@{_HOST}:5432/postgres"
_REDIS = f"redis://{_HOST}:6379"
# Parallel test workers take the numbers after the first.
_WORKERS = 3


def check() -> None:
    try:
        psycopg.connect(_ADMIN, connect_timeout=5).close()
        redis.Redis.from_url(_REDIS).ping()
    except (psycopg.Error, redis.RedisError) as error:
        sys.exit(f"The tests need PostgreSQL and Redis on {_HOST}: {str(error).strip()}")


def create() -> str:
    name = f"des_ci_{secrets.token_hex(4)}"
    with psycopg.connect(_ADMIN, autocommit=True) as connection:
        # CREATEDB, because the test runner makes a database for each of its workers.
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER CREATEDB").format(sql.Identifier(name)))
        system = sql.Identifier(f"{name}_system")
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(system))
        connection.execute(sql.SQL("GRANT {} TO {}").format(system, sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
    return name


def url(name: str) -> str:
    return f"postgresql://{name}@{_HOST}:5432/{name}"


def drop(name: str) -> None:
    with psycopg.connect(_ADMIN, autocommit=True) as connection:
        owned = connection.execute(
            "SELECT datname FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid WHERE rolname = %s", [name]
        ).fetchall()
        for (database,) in owned:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        for role in (f"{name}_system", name):
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def redis_url() -> str:
    for number in range(15 - _WORKERS + 1, 0, -1):
        free = [redis.Redis.from_url(f"{_REDIS}/{number + worker}").dbsize() == 0 for worker in range(_WORKERS)]
        if all(free):
            return f"{_REDIS}/{number}"
    sys.exit(f"No {_WORKERS} empty database numbers follow each other in this machine's Redis.")


def main(command: str, *arguments: str) -> None:
    answer = {"check": check, "create": create, "url": url, "drop": drop, "redis": redis_url}[command](*arguments)
    if answer is not None:
        sys.stdout.write(f"{answer}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
