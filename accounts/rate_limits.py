"""How many requests and orders are taken (LIM-1): everybody's together, then the caller's, then the connection's.

What is refused counts nowhere: a flood of one caller takes nothing from the others. While Redis is away each web
process counts for itself, so that at most as many times more is taken as there are processes; trading doesn't stop.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction

from accounts import journal
from accounts.caller import Caller, network_of
from accounts.tenancy import tenant_scope
from desproject.lib.errors import DomainError
from desproject.lib.metrics.registry import METRICS
from desproject.lib.sliding_windows import WINDOWS, Full, Window

log = structlog.get_logger(__name__)

_ORDER_SECONDS = 1.0


class RateLimited(DomainError):
    """Wait ``retry_after`` seconds."""

    code = "RATE_LIMITED"
    status = 429


def check_request(user_id: UUID | None, caller: Caller, what: str) -> None:
    """Counts one request of a user, or of an address while nobody knows who it is. Raises RateLimited."""
    config = settings.CONFIG
    who = f"user:{user_id}" if user_id else f"address:{network_of(caller.ip) if caller.ip else 'unknown'}"
    windows = (
        Window("global", config.rate_limit_global_requests, config.rate_limit_window),
        Window(who, config.rate_limit_requests, config.rate_limit_window),
    )
    _take(windows, user_id, caller, what)


def check_order(user_id: UUID, connection_id: UUID) -> None:
    """Counts one order wished for on a user's own connection. Raises RateLimited."""
    window = Window(f"connection:{connection_id}", settings.CONFIG.rate_limit_orders, _ORDER_SECONDS)
    _take((window,), user_id, Caller(None, ""), "order")


def _take(windows: Sequence[Window], user_id: UUID | None, caller: Caller, what: str) -> None:
    full = WINDOWS.take(windows)
    if full is None:
        return
    limit, _, key = full.window.key.partition(":")
    METRICS.count(f"limits.refused_{limit}")
    if full.is_news:
        _record(full, user_id, caller, limit, key, what)
    raise RateLimited(f"too many {_NOUN[limit]}, wait a little", retry_after=full.retry_after)


_NOUN = {
    "global": "requests from everybody", "user": "requests", "address": "requests from your address",
    "connection": "orders on this connection",
}  # fmt: skip


def _record(full: Full, user_id: UUID | None, caller: Caller, limit: str, key: str, what: str) -> None:
    """One audit row for each window's time, not for each refusal: a flood must not write to the database."""
    details = {"limit": full.window.limit, "window_seconds": full.window.seconds, "refused": what}
    try:
        with tenant_scope(*filter(None, [user_id])), transaction.atomic():
            journal.record(
                "rate_limit.hit", user_id=user_id, resource_type=limit, resource_id=key, details=details, ip=caller.ip,
                user_agent=caller.user_agent,
            )
    except DatabaseError:
        log.exception("rate_limit_hit_not_recorded", limit=limit)
