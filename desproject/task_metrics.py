"""Metrics of django-q's workers: each publishes its own from its start; tasks are counted by how they ended."""

from typing import Any

from django_q.signals import post_execute_in_worker, post_spawn

from desproject.lib.metrics import publishing
from desproject.lib.metrics.registry import METRICS


def connect() -> None:
    post_spawn.connect(_on_worker)
    post_execute_in_worker.connect(_on_end)


def _on_worker(**_: Any) -> None:
    publishing.start()


def _on_end(task: dict[str, Any], **_: Any) -> None:
    METRICS.count("tasks.run" if task.get("success") else "tasks.failed")
