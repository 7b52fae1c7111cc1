"""Liveness asks nothing, readiness asks every part by name."""

import os
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from django_q.signing import SignedPackage
from django_q.status import Stat, Status
from rest_framework.test import APIClient

from accounts.tenancy import SHARDS
from connections.models import Lease, Process
from desproject import health
from desproject.lib.bus import sync_client


def run_process(kind: str, pid: int = 1) -> None:
    now = timezone.now()
    Process.objects.create(kind=kind, host="here", pid=pid, started_at=now, seen_at=now)


def lease_shards(count: int) -> None:
    until = timezone.now() + timedelta(seconds=60)
    Lease.objects.bulk_create(
        Lease(kind="shard", key=str(key), owner=uuid4(), expires_at=until) for key in range(count)
    )


@pytest.fixture
def whole(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in which everything runs."""
    run_process("shard", pid=100)
    run_process("stream", pid=200)
    lease_shards(SHARDS)
    clusters = [SimpleNamespace(workers=[100]), SimpleNamespace(workers=[os.getpid()])]
    monkeypatch.setattr("desproject.health._clusters", lambda: clusters)


def ready(client: APIClient) -> tuple[int, dict[str, str]]:
    answer = client.get("/api/health/ready")
    return answer.status_code, answer.json()["checks"]


def test_liveness_asks_nothing(anonymous: APIClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = anonymous.get("/api/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_everything_there_is_ready(anonymous: APIClient, whole: None) -> None:
    assert ready(anonymous) == (
        200, {"database": "ok", "cache": "ok", "engine": "ok", "streams": "ok", "exchanges": "ok", "tasks": "ok"}
    )


def test_feeds_that_are_polled_are_told_of_and_no_reason_to_stop(anonymous: APIClient, whole: None) -> None:
    Process.objects.filter(kind="stream").update(figures={"feeds_polled": 2})
    assert ready(anonymous)[0] == 200
    assert ready(anonymous)[1]["streams"] == "ok (2 polled by REST, the stream can't be had)"


def test_a_shard_without_an_engine_is_named(anonymous: APIClient, whole: None) -> None:
    Lease.objects.filter(key="7").update(expires_at=timezone.now())
    status, checks = ready(anonymous)
    assert (status, checks["engine"]) == (503, f"1 of {SHARDS} shards wait for an engine")


@pytest.mark.parametrize(("kind", "part"), [("shard", "engine"), ("stream", "streams")])
def test_a_process_that_fell_silent_is_named(anonymous: APIClient, whole: None, kind: str, part: str) -> None:
    Process.objects.filter(kind=kind).update(seen_at=timezone.now() - timedelta(minutes=1))
    status, checks = ready(anonymous)
    assert status == 503
    assert [name for name, state in checks.items() if state != "ok"] == [part]


def test_trading_clusters_are_no_task_processes(
    anonymous: APIClient, whole: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desproject.health._clusters", lambda: [SimpleNamespace(workers=[100])])
    status, checks = ready(anonymous)
    assert (status, checks["tasks"]) == (503, "no task process runs")


def test_clusters_are_found_by_their_sign_of_life(redis_server: str) -> None:
    """As django-q leaves it, found without the commands that a production Redis doesn't allow."""
    stat = Status(pid=7, cluster_id="one")
    stat.workers = [8, 9]
    sync_client().set(Stat.get_key("one"), SignedPackage.dumps(stat, True), ex=3)
    sync_client().set(Stat.get_key("forged"), "not signed by us", ex=3)
    assert [found.workers for found in health._clusters()] == [[8, 9]]


def test_redis_away_is_named(anonymous: APIClient, whole: None, settings: Any) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    }
    status, checks = ready(anonymous)
    assert (status, checks["cache"]) == (503, "doesn't answer")
