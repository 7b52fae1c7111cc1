"""Every engine begins with an empty Redis: quotes of the test before would be as good as its own."""

from collections.abc import Iterator

import pytest
import redis


@pytest.fixture(autouse=True)
def _empty_redis(redis_server: str) -> Iterator[None]:
    client = redis.Redis.from_url(redis_server)
    client.flushdb()
    yield
    client.flushdb()
    client.close()
