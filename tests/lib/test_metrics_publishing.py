"""Snapshots by way of a real Redis: what lives is seen, what died fades, and a Redis that is away costs nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from desproject.lib.metrics import publishing
from desproject.lib.metrics.publishing import INDEX, LIFETIME_SECONDS, Publisher, snapshots
from desproject.lib.metrics.registry import Registry


@pytest.fixture
def client(redis_server: str) -> "Iterator[redis.Redis]":
    client = redis.Redis.from_url(redis_server)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


def test_what_is_published_is_read_back(client: "redis.Redis") -> None:
    registry = Registry()
    registry.count("web.requests", 3)
    registry.recorder("web.response").record(0.01)
    Publisher(client, "web", "here", registry).publish()
    (found,) = snapshots(client)
    assert (found.kind, found.host, found.pid, found.totals) == ("web", "here", os.getpid(), {"web.requests": 3})
    assert found.latencies["web.response"].count == 1


def test_a_dead_process_fades_from_figures_and_index(client: "redis.Redis") -> None:
    publisher = Publisher(client, "engine", "here", Registry())
    publisher.publish()
    assert 0 < client.ttl(publisher.key) <= LIFETIME_SECONDS  # type: ignore[operator]  # of a synchronous client
    client.pexpire(publisher.key, 1)
    time.sleep(0.05)
    assert snapshots(client) == []
    assert client.scard(INDEX) == 0


def test_a_process_that_stops_is_gone_at_once(client: "redis.Redis") -> None:
    publisher = Publisher(client, "engine", "here", Registry())
    publisher.publish()
    publisher.stop()
    publisher.run()
    assert snapshots(client) == []


def test_a_redis_that_is_away_is_counted_and_nothing_else() -> None:
    registry = Registry()
    Publisher(redis.Redis(host="127.0.0.1", port=1), "engine", "here", registry).publish()
    assert registry.snapshot("engine", "here").totals == {"metrics.not_published": 1}


def test_each_process_publishes_by_itself_until_it_dies(client: "redis.Redis") -> None:
    program = (
        "import django, time; django.setup(); from desproject.lib.metrics import publishing; publishing.start(); "
        "publishing.start(); time.sleep(60)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "desproject.settings"}
    started = [
        subprocess.Popen([sys.executable, "-c", program], env={**environment, "DES_ROLE": role})
        for role in ("engine", "streams")
    ]
    try:
        _until(lambda: sorted(found.kind for found in snapshots(client)) == ["engine", "streams"])
        assert {found.pid for found in snapshots(client)} == {process.pid for process in started}
        started[0].kill()
        _until(lambda: [found.kind for found in snapshots(client)] == ["streams"])
    finally:
        for process in started:
            process.kill()
            process.wait()


def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it didn't come true in time"
        time.sleep(0.05)


def test_publishing_goes_to_the_installations_redis(client: "redis.Redis") -> None:
    Publisher(publishing.connect(), "web", "here", Registry()).publish()
    assert len(snapshots(client)) == 1
