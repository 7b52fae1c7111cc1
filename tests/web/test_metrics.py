"""/api/metrics: for administrators, from memory, of all processes; and what requests and statements leave in them."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from django.db import DatabaseError, connection
from rest_framework.test import APIClient

from accounts.models import User
from desproject import metrics_api, task_metrics
from desproject.lib.bus import sync_client
from desproject.lib.clock import ManualClock
from desproject.lib.metrics.publishing import Publisher
from desproject.lib.metrics.registry import METRICS, Registry
from desproject.metrics_board import Board
from desproject.web_metrics import Measured
from tests.conftest import PASSWORD
from tests.web.conftest import Client

PATHS = ("/api/metrics", "/api/metrics/latency")
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def board(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board of this test's own, which merges only when asked."""
    board = Board(clock)
    monkeypatch.setattr(board, "_keep_fresh", lambda: None)
    monkeypatch.setattr(metrics_api, "BOARD", board)
    yield board
    if board._client is not None:
        board._client.close()


@pytest.fixture
def operator(db: None, logged_in: Client) -> APIClient:
    return logged_in(User.objects.create_superuser("operator@example.org", PASSWORD))


def publish(kind: str, registry: Registry, host: str = "here") -> None:
    Publisher(sync_client(), kind, host, registry).publish()


def an_engine(orders: int, *durations: float) -> Registry:
    registry = Registry()
    registry.count("engine.orders", orders)
    for seconds in durations:
        registry.recorder("order.send").record(seconds)
    return registry


@pytest.mark.parametrize("path", PATHS)
class TestWhoMayRead:
    def test_administrators_may(self, operator: APIClient, board: Board, path: str) -> None:
        assert operator.get(path).status_code == 200

    def test_alice_may_not(self, as_alice: APIClient, board: Board, path: str) -> None:
        answer = as_alice.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")

    def test_nobody_known_may_not(self, anonymous: APIClient, board: Board, path: str) -> None:
        assert anonymous.get(path).status_code == 401


def test_all_processes_are_added_up(operator: APIClient, board: Board) -> None:
    publish("engine", an_engine(3), "one")
    publish("engine", an_engine(4), "two")
    found = operator.get("/api/metrics").json()
    assert found["orders"]["total"] == 7
    assert [(row["kind"], row["host"]) for row in found["processes"]] == [("engine", "one"), ("engine", "two")]
    assert found["memory_bytes"] == sum(row["memory_bytes"] for row in found["processes"]) > 0


def test_latencies_have_all_their_figures(operator: APIClient, board: Board) -> None:
    publish("engine", an_engine(0, 0.010, 0.010, 0.030), "one")
    publish("engine", an_engine(0, 0.050), "two")
    found = operator.get("/api/metrics/latency").json()
    assert (found["unit"], found["window_seconds"]) == ("ms", 60)
    send = found["latency"]["order"]["send"]
    assert (send["count"], send["min"], send["max"], send["avg"]) == (4, 10.0, 50.0, 25.0)
    assert send["p50"] == pytest.approx(10, rel=found["relative_error"])
    assert send["p95"] == send["p99"] == pytest.approx(50, rel=found["relative_error"])
    assert send["last_update"]


def test_answers_are_from_memory_for_a_second(operator: APIClient, board: Board, clock: ManualClock) -> None:
    publish("engine", an_engine(1))
    assert operator.get("/api/metrics").json()["as_of"] == "2026-11-21T09:00:00Z"
    publish("engine", an_engine(2))
    clock.advance(1)
    answer = operator.get("/api/metrics").json()
    assert (answer["orders"]["total"], answer["as_of"]) == (1, "2026-11-21T09:00:00Z")
    clock.advance(0.5)
    answer = operator.get("/api/metrics").json()
    assert (answer["orders"]["total"], answer["as_of"]) == (2, "2026-11-21T09:00:01.500000Z")


@pytest.mark.parametrize("path", PATHS)
def test_only_the_caller_is_looked_up(
    operator: APIClient, board: Board, path: str, django_assert_num_queries: Any
) -> None:
    for host in range(20):
        publish("engine", an_engine(50, *[0.001 * step for step in range(1, 100)]), f"host-{host}")
    with django_assert_num_queries(1):
        assert operator.get(path).status_code == 200


def test_a_redis_that_is_away_is_said(operator: APIClient, board: Board, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = operator.get("/api/metrics")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")


def test_while_somebody_asks_the_documents_are_kept_fresh(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desproject.metrics_board._PERIOD_SECONDS", 0.01)
    monkeypatch.setattr("desproject.metrics_board._IDLE_SECONDS", 0.3)
    board = Board()
    first = board.documents()
    worker = board._worker
    assert worker is not None
    while board.documents() is first:
        worker.join(0.01)
    worker.join(10)
    assert not worker.is_alive(), "nobody asks any more"
    last = board._newest
    assert last is not None
    assert board.documents().merged_at >= last.merged_at


class TestWhatIsCounted:
    def test_logged_errors_by_kind(self) -> None:
        before = _errors()
        structlog.get_logger("somewhere").error("planted_error", user_id="1")
        structlog.get_logger("somewhere").warning("planted_warning")
        logging.getLogger("some.library").error("a sentence about %s", "something")
        assert _errors(before) == {"planted_error": 1, "some.library": 1}

    def test_statements_are_timed_and_failed_ones_counted(self, db: None) -> None:
        recorder = METRICS.recorder("database.query")
        before, failed = recorder.window().count, METRICS.snapshot("web", "here").totals.get("database.errors", 0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            with pytest.raises(DatabaseError):
                cursor.execute("SELECT nothing FROM nowhere")
        assert recorder.window().count == before + 2
        assert METRICS.snapshot("web", "here").totals["database.errors"] == failed + 1

    @pytest.mark.parametrize(("success", "name"), [(True, "tasks.run"), (False, "tasks.failed")])
    def test_tasks_by_how_they_ended(self, success: bool, name: str) -> None:
        before = METRICS.snapshot("tasks", "here").totals.get(name, 0)
        task_metrics._on_end(task={"success": success})
        assert METRICS.snapshot("tasks", "here").totals[name] == before + 1

    async def test_requests_by_their_answers(self) -> None:
        async def answers_404(scope: Any, receive: Any, send: Any) -> None:
            assert app._open["requests_open"] == 1
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        app = Measured(answers_404)
        await app({"type": "http"}, _nothing_more, _heard)
        assert app._counts == {"requests": 1, "answers_4xx": 1}
        assert app._open["requests_open"] == 0

    async def test_sockets_while_they_are_open(self) -> None:
        async def fails(scope: Any, receive: Any, send: Any) -> None:
            assert app._open["sockets_open"] == 1
            raise ConnectionResetError

        app = Measured(fails)
        with pytest.raises(ConnectionResetError):
            await app({"type": "websocket"}, _nothing_more, _heard)
        assert app._open["sockets_open"] == 0


async def _nothing_more() -> Any:
    return {"type": "http.disconnect"}


async def _heard(message: Any) -> None:
    pass


def _errors(before: dict[str, int] | None = None) -> dict[str, int]:
    now = METRICS.snapshot("web", "here").errors
    if before is None:
        return now
    return {kind: count - before.get(kind, 0) for kind, count in now.items() if count != before.get(kind, 0)}
