"""The queue that clusters read: on a real Redis, and on one that is killed under the reader."""

import signal
import subprocess
from pathlib import Path

import pytest
from django.conf import LazySettings
from django_q.brokers import get_broker

from desproject import private_redis
from desproject.lib.task_queue import TaskQueue
from tests.conftest import wait_for_redis


def test_clusters_read_it() -> None:
    assert isinstance(get_broker("tasks-of-a-test"), TaskQueue)


def test_a_task_comes_out_once(redis_server: str) -> None:
    queue = TaskQueue(list_key="tasks-of-a-test")
    queue.enqueue(b"one")
    assert queue.dequeue() == [(None, b"one")]
    assert queue.dequeue() is None


def test_a_reader_outlives_its_redis(tmp_path: Path, settings: LazySettings) -> None:
    socket = private_redis.socket_path(tmp_path)
    settings.REDIS_URL = f"unix://{socket}"
    server = subprocess.Popen(private_redis.command(socket), stdout=subprocess.DEVNULL)
    wait_for_redis(settings.REDIS_URL)
    queue = TaskQueue(list_key="tasks-of-a-test")
    assert queue.dequeue() is None
    server.kill()
    server.wait(10)
    assert queue.dequeue() is None

    server = subprocess.Popen(private_redis.command(socket), stdout=subprocess.DEVNULL)
    try:
        wait_for_redis(settings.REDIS_URL)
        queue.enqueue(b"one")
        assert queue.dequeue() == [(None, b"one")]
    finally:
        server.terminate()
        server.wait(10)


def test_a_frozen_redis_is_given_up(
    tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desproject.lib.task_queue._PATIENCE_SECONDS", 0.3)
    socket = private_redis.socket_path(tmp_path)
    settings.REDIS_URL = f"unix://{socket}"
    server = subprocess.Popen(private_redis.command(socket), stdout=subprocess.DEVNULL)
    try:
        wait_for_redis(settings.REDIS_URL)
        queue = TaskQueue(list_key="tasks-of-a-test")
        server.send_signal(signal.SIGSTOP)
        assert queue.dequeue() is None
    finally:
        server.kill()
        server.wait(10)
