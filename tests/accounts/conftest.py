"""Several callers at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import redis
from django.db import connections

from accounts.stored_keys import stored_key

AtOnce = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def _forget_stored_keys() -> None:
    stored_key.cache_clear()


@pytest.fixture(autouse=True)
def _clean_redis(redis_server: str) -> Iterator[None]:
    """Log-ins count their tries there."""
    yield
    client = redis.Redis.from_url(redis_server)
    client.flushdb()
    client.close()


@pytest.fixture
def at_once() -> AtOnce:
    """Calls ``work`` in so many threads that start together; returns results and exceptions alike."""

    def run(work: Callable[[], Any], times: int = 4) -> list[Any]:
        start = Barrier(times)

        def one() -> Any:
            start.wait(10)
            try:
                return work()
            except Exception as error:  # noqa: BLE001  # the test looks at it
                return error
            finally:
                connections.close_all()

        with ThreadPoolExecutor(times) as threads:
            return [future.result(30) for future in [threads.submit(one) for _ in range(times)]]

    return run
