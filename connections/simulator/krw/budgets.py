"""Requests a second, by group: public groups count per address, private ones per account, as `Remaining-Req` says."""

from collections import defaultdict
from dataclasses import dataclass

from connections.simulator.krw import errors
from connections.simulator.krw.wire import Wire

_PUBLIC = {"market", "candles", "orderbook", "ticker", "trades"}


@dataclass(slots=True)
class KrwBudgets:
    """The settable limits of every won exchange; how many requests are allowed is in its `Wire`."""

    # So many refused requests, without a second of quiet between them, and the sender is blocked.
    refusals_to_ban: int = 20
    ban_seconds: int = 60


@dataclass(slots=True)
class _Usage:
    second: int = -1
    used: int = 0
    refused: int = 0


class Limiter:
    """Counts requests of senders: addresses or accounts."""

    def __init__(self, wire: Wire, budgets: KrwBudgets) -> None:
        self._wire = wire
        self._budgets = budgets
        self._usage: dict[tuple[str, str], _Usage] = defaultdict(_Usage)
        self._banned_until_ms: dict[str, int] = {}

    def spend(self, group: str, sender: str, now_ms: int) -> str:
        """Counts a request; the header of its answer. Raises the 429 or 418 error."""
        until = self._banned_until_ms.get(sender, 0)
        if until > now_ms:
            raise errors.banned(-(-(until - now_ms) // 1000))
        usage = self._usage[group, sender]
        self._roll(usage, now_ms // 1000)
        usage.used += 1
        left = self._limit(group) - usage.used
        if left < 0:
            self._refuse(usage, group, sender, now_ms)
        return f"group={group}; min={self._limit(group) * 60}; sec={left}"

    def _roll(self, usage: _Usage, second: int) -> None:
        if usage.second == second:
            return
        if second - usage.second > 1:
            usage.refused = 0
        usage.second, usage.used = second, 0

    def _refuse(self, usage: _Usage, group: str, sender: str, now_ms: int) -> None:
        usage.refused += 1
        if usage.refused > self._budgets.refusals_to_ban:
            self._banned_until_ms[sender] = now_ms + self._budgets.ban_seconds * 1000
            raise errors.banned(self._budgets.ban_seconds)
        raise errors.too_many(group)

    def _limit(self, group: str) -> int:
        if group in _PUBLIC:
            return self._wire.quotation
        return self._wire.order if group == "order" else self._wire.default
