"""The bare driver on DES's PostgreSQL, for tests that look at everybody's rows."""

from typing import Any

import psycopg


def connect(url: str = "", **options: Any) -> "psycopg.Connection[Any]":
    """A connection that sees what system jobs see, for as long as it lives."""
    connection = psycopg.connect(url, **options)
    try:
        connection.execute("SELECT set_config('role', session_user || '_system', false)")
        connection.commit()
    except psycopg.Error:
        connection.close()
        raise
    return connection
