"""The judge of a chaos run, a process of the installation's own: simulator against database, limits, and the story of
the first difference.

``python -m tests.drills.chaos.judge`` answers lines of JSON. Wants the installation's environment.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import django

django.setup()

from django.db import DatabaseError, InterfaceError, connections  # noqa: E402  # after the set-up
from django.db.models import Q  # noqa: E402

from accounts.tenancy import tenant_scope  # noqa: E402
from audit.models import AuditLog  # noqa: E402
from connections.models import Process  # noqa: E402
from desproject.mismatches import Mismatch, compare  # noqa: E402
from trading.engine_count import SHARD  # noqa: E402
from trading.models import Order, OrderAttempt, OrderEvent, Reservation, Signal, Trade  # noqa: E402
from trading.order_states import OPEN, OrderStatus  # noqa: E402

# A market order's size is checked at the price that was seen: it may fill so far away.
_SLIP = Decimal("1.02")
# The same for what a position is worth, while the price walks on.
_WALK = Decimal("1.05")
_LOG_LINES = 60
# What is audited of an order besides (requests, slippage, …) are no moves.
_MOVES = ("order.placed", *(f"order.{status}" for status in OrderStatus))
# A row's stamp is older than its commit, which may wait for a database that is restarted.
_BOOKING = timedelta(seconds=5)


class Judge:
    """Asks the database. ``keys`` maps each connection to its API key, ``limits`` to what it may do."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._keys = {UUID(connection): key for connection, key in told["keys"].items()}
        self._limits = {UUID(connection): limits for connection, limits in told["limits"].items()}
        self._users = [UUID(user) for user in told["users"]]
        self._log = Path(told["log"])

    def open_orders(self, _: Mapping[str, Any]) -> dict[str, str]:
        with tenant_scope(*self._users):
            rows = Order.objects.filter(status__in=OPEN).values_list("pk", "user_id")
            return {str(order): str(user) for order, user in rows}

    def figures(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """What there is in the database now."""
        with tenant_scope(*self._users):
            orders = Order.objects.values_list("status", "reject_code", "instance_id", "connection__exchange")
            rows = list(orders)
            return {
                "orders": len(rows),
                "by_status": dict(Counter(status for status, *_ in rows)),
                "by_exchange": dict(Counter(exchange for *_, exchange in rows)),
                "by_strategies": sum(instance is not None for _, _, instance, _ in rows),
                "refused": dict(Counter(code for status, code, *_ in rows if code)),
                "attempts": OrderAttempt.objects.count(),
                "trades": Trade.objects.count(),
            }

    def now(self, _: Mapping[str, Any]) -> dict[str, str]:
        return {"now": datetime.now(UTC).isoformat()}

    def ticks(self, _: Mapping[str, Any]) -> dict[str, int]:
        """How many market messages all engines took so far."""
        rows = Process.objects.filter(kind=SHARD).values_list("figures", flat=True)
        return {"ticks": sum(figures.get("ticks", 0) for figures in rows)}

    def storm(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What exits and the daily loss did between two moments."""
        span = (datetime.fromisoformat(asked["began"]), datetime.fromisoformat(asked["ended"]))
        with tenant_scope(*self._users):
            placed = OrderEvent.objects.filter(to_status="pending", at__range=span)
            exits = placed.filter(Q(order__reduce_only=True) | Q(order__side="sell", order__symbol__endswith="/USDT")
                                  | Q(order__side="sell", order__symbol__endswith="/KRW"))
            late = [found for connection in self._keys for found in self._entries_after_loss(connection)]
            stopped = Order.objects.filter(reject_code="RISK_DAILY_LOSS").count()
            stopped += Signal.objects.filter(reason__startswith="daily_loss").count()
            return {
                "placed_in_storm": placed.count(), "exits": exits.count(),
                "exits_of_strategies": exits.filter(order__instance__isnull=False).count(),
                "stopped_by_daily_loss": stopped, "entries_after_daily_loss": late,
            }

    def _entries_after_loss(self, connection: UUID) -> list[str]:
        """Entries that were committed after the fill with which the day's loss reached its limit was."""
        limit = self._limits[connection].get("max_daily_loss")
        if limit is None:
            return []
        days: dict[Any, Decimal] = {}
        closed: list[tuple[datetime, bool]] = []
        for trade in Trade.objects.filter(connection_id=connection).order_by("created_at", "executed_at"):
            day = trade.executed_at.date()
            days[day] = days.get(day, Decimal(0)) + trade.realized_pnl
            closed.append((trade.created_at, days[day] <= -Decimal(limit)))
        placed = OrderEvent.objects.filter(order__connection_id=connection, to_status="pending")
        late = []
        for event in placed.select_related("order"):
            is_entry = not event.order.reduce_only and (event.order.side == "buy" or ":" in event.order.symbol)
            before = [is_shut for at, is_shut in closed if at < event.at - _BOOKING]
            if is_entry and before and before[-1]:
                late.append(f"{event.order_id} at {event.at}")
        return late

    def verdict(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Every difference, by kind; the story of the first one."""
        ledger = json.loads(Path(asked["ledger"]).read_text())
        mismatches = compare(ledger, self._keys, self._users)
        with tenant_scope(*self._users):
            mismatches += self._lost(asked["accepted"])
            mismatches += self._overspent()
            mismatches += self._unaudited()
            mismatches += [found for connection in self._keys for found in self._beyond_limits(connection, ledger)]
            return {
                "kinds": dict(Counter(found.kind for found in mismatches)),
                "differences": [str(found) for found in mismatches[:20]],
                "story": self._story(mismatches[0], ledger) if mismatches and asked["with_story"] else None,
            }

    # What compare() doesn't know of.

    def _lost(self, accepted: list[str]) -> list[Mismatch]:
        """Orders that the API took and the database doesn't have."""
        there = {str(order) for order in Order.objects.values_list("pk", flat=True)}
        nowhere = UUID(int=0)
        return [Mismatch("order_lost", nowhere, order, "-", "-") for order in accepted if order not in there]

    def _overspent(self) -> list[Mismatch]:
        """Refusals of an exchange for want of money: our reservations should have known before."""
        told = Q(reject_reason__icontains="insufficient") | Q(reject_code__icontains="insufficient")
        rows = Order.objects.filter(told).exclude(reject_code__startswith="RISK_")
        return [Mismatch("overspent", row.connection_id, str(row.pk), row.reject_reason, row.status) for row in rows]

    def _unaudited(self) -> list[Mismatch]:
        """Moves of orders without their audit row, or the other way round."""
        moves = Counter(OrderEvent.objects.values_list("order_id", "to_status"))
        told = AuditLog.objects.filter(resource_type="order", event_type__in=_MOVES)
        audited = Counter(
            (UUID(str(order)), "pending" if event == "order.placed" else event.removeprefix("order."))
            for order, event in told.values_list("resource_id", "event_type")
        )
        nowhere = UUID(int=0)
        return [
            Mismatch("unaudited", nowhere, str(move[0]), str(move[1]), f"{moves[move]} moves, {audited[move]} rows")
            for move in moves.keys() | audited.keys()
            if moves[move] != audited[move]
        ]

    def _beyond_limits(self, connection: UUID, ledger: Mapping[str, Any]) -> Iterator[Mismatch]:
        account, limits = ledger["accounts"][self._keys[connection]], self._limits[connection]
        attempts = OrderAttempt.objects.filter(connection_id=connection).select_related("order")
        entries = {
            attempt.client_order_id for attempt in attempts
            if not attempt.order.reduce_only and (attempt.order.side == "buy" or ":" in attempt.order.symbol)
        }  # fmt: skip
        orders = account["orders"]
        for order in orders:
            if order["client_order_id"] not in entries:
                continue
            if (worth := _worth(order)) > Decimal(limits["max_order_size"]) * _SLIP:
                yield Mismatch("limit_order_size", connection, order["client_order_id"], f"{worth:f}", "-")
            beside = sum(_is_open_at(other, order["created_ms"]) for other in orders if other is not order)
            if beside >= limits["max_open_orders"]:
                yield Mismatch("limit_open_orders", connection, order["client_order_id"], str(beside + 1), "-")
        held: Counter[str] = Counter()
        for fill in account["fills"]:
            sign = 1 if fill["is_buyer"] else -1
            before = held[fill["symbol"]]
            held[fill["symbol"]] = after = before + sign * Decimal(fill["quantity"])  # type: ignore[assignment]
            if abs(after) > abs(before) and abs(after) * Decimal(fill["price"]) > (
                Decimal(limits["max_position_size"]) * _WALK
            ):
                yield Mismatch("limit_position", connection, str(fill["order_id"]), f"{after:f}", "-")

    # The story of one difference.

    def _story(self, found: Mismatch, ledger: Mapping[str, Any]) -> dict[str, Any]:
        account = ledger["accounts"].get(self._keys.get(found.connection, ""), {})
        told: dict[str, Any] = {"difference": str(found)}
        order = self._order_of(found, account)
        if order is None:
            return told | {"balances": account.get("balances"), "log": self._log_lines(str(found.connection))}
        attempts = list(OrderAttempt.objects.filter(order=order).order_by("number"))
        ids = {attempt.client_order_id for attempt in attempts}
        theirs = [row for row in account.get("orders", []) if row["client_order_id"] in ids]
        numbers = {row["order_id"] for row in theirs}
        return told | {
            "order": _shown(order), "attempts": [_shown(row) for row in attempts],
            "moves": [_shown(row) for row in OrderEvent.objects.filter(order=order).order_by("id")],
            "trades": [_shown(row) for row in Trade.objects.filter(order=order)],
            "reservation": [_shown(row) for row in Reservation.objects.filter(order=order)],
            "audit": [
                {"at": str(row.created_at), "event": row.event_type, "details": row.details}
                for row in AuditLog.objects.filter(resource_type="order", resource_id=order.pk).order_by("id")
            ],
            "simulator": {
                "received": {name: count for name, count in account.get("received", {}).items() if name in ids},
                "orders": [
                    {**row, "created": _time(row["created_ms"]), "updated": _time(row["updated_ms"])} for row in theirs
                ],
                "fills": [
                    {**fill, "at": _time(fill["time_ms"])} for fill in account.get("fills", [])
                    if fill["order_id"] in numbers
                ],
            },
            "log": self._log_lines(str(order.pk), *ids),
            "from": (order.created_at - timedelta(seconds=20)).isoformat(),
            "to": (order.updated_at + timedelta(seconds=20)).isoformat(),
        }  # fmt: skip

    def _order_of(self, found: Mismatch, account: Mapping[str, Any]) -> Order | None:
        """The order that a difference is about: named by its id, a client id, or one of its fills."""
        subject = found.subject
        if found.kind.startswith("fill"):
            trade_id = subject.rpartition(" ")[2]
            booked = Trade.objects.filter(connection_id=found.connection, exchange_trade_id=trade_id).first()
            if booked is not None:
                return self._order(booked.order_id)
            number = next((row["order_id"] for row in account["fills"] if str(row["trade_id"]) == trade_id), None)
            subject = next((row["client_order_id"] for row in account["orders"] if row["order_id"] == number), "")
        attempt = OrderAttempt.objects.filter(client_order_id=subject).first()
        if attempt is not None:
            return self._order(attempt.order_id)
        try:
            return self._order(UUID(subject))
        except ValueError:
            return None

    def _order(self, order_id: UUID | None) -> Order | None:
        order: Order | None = Order.objects.filter(pk=order_id).first()
        return order

    def _log_lines(self, *words: str) -> list[str]:
        with self._log.open(errors="replace") as log:
            return [line.strip()[:600] for line in log if any(word in line for word in words)][-_LOG_LINES:]


def _worth(order: Mapping[str, Any]) -> Decimal:
    """What the order was sent for, or has cost."""
    if order["price"] and order["quantity"]:
        return Decimal(order["price"]) * Decimal(order["quantity"])
    return Decimal(order["quote_executed"])


def _is_open_at(order: Mapping[str, Any], moment_ms: int) -> bool:
    ended = order["status"] not in ("NEW", "PARTIALLY_FILLED")
    return order["created_ms"] < moment_ms and not (ended and order["updated_ms"] <= moment_ms)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _shown(row: Any) -> dict[str, str]:
    return {field.attname: str(getattr(row, field.attname)) for field in row._meta.concrete_fields}


def main() -> None:
    """The first line says who there is; each further one asks, and is answered by one line."""
    judge = Judge(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(judge, asked["what"])(asked)
        except (DatabaseError, InterfaceError) as error:
            answer = {"error": str(error)}
        finally:
            connections.close_all()
        os.write(1, json.dumps(answer, default=str).encode() + b"\n")


if __name__ == "__main__":
    main()
