"""Every engine begins with an empty Redis: quotes of the test before would be as good as its own."""

from collections.abc import Iterator

import pytest
import redis

from tests.trading.engine.forked import Databases


@pytest.fixture(autouse=True)
def _empty_redis(redis_server: str) -> Iterator[None]:
    client = redis.Redis.from_url(redis_server)
    client.flushdb()
    yield
    client.flushdb()
    client.close()


@pytest.fixture(scope="session")
def databases(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """For engines in processes of their own."""
    with Databases(tmp_path_factory.mktemp("databases")) as made:
        yield made
