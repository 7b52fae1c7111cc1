"""Request weight per address and unfilled orders per account, in windows aligned to the clock."""

from collections import defaultdict
from dataclasses import dataclass

from connections.simulator.binance_spot import errors

MINUTE_MS = 60_000
ORDER_WINDOWS = {"10S": 10_000, "1D": 86_400_000}
_WINDOW_NAMES = {"10S": "10 SECOND", "1D": "1 DAY"}
_FIRST_BAN_MS = 120_000


@dataclass(slots=True)
class Budgets:
    """The settable limits. Defaults are the real exchange's."""

    weight: int = 6000
    orders_10s: int = 100
    orders_1d: int = 200_000
    # So many refused requests in one minute and the address is banned, longer each time.
    refusals_to_ban: int = 20


@dataclass(slots=True)
class _Usage:
    window: int = -1
    used: int = 0
    refused: int = 0
    bans: int = 0
    banned_until_ms: int = 0


class WeightLimiter:
    """Counts request weight per address."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._usage: dict[str, _Usage] = defaultdict(_Usage)

    def spend(self, address: str, weight: int, now_ms: int) -> int:
        """Counts a request; returns the weight used this minute. Raises the 429 or 418 error."""
        usage = self._current(address, now_ms)
        if usage.banned_until_ms > now_ms:
            raise errors.banned(usage.banned_until_ms)
        usage.used += weight
        if usage.used > self._budgets.weight:
            self._refuse(usage, now_ms)
        return usage.used

    def used(self, address: str, now_ms: int) -> int:
        return self._current(address, now_ms).used

    def _current(self, address: str, now_ms: int) -> _Usage:
        usage = self._usage[address]
        if usage.window != now_ms // MINUTE_MS:
            usage.window, usage.used, usage.refused = now_ms // MINUTE_MS, 0, 0
        return usage

    def _refuse(self, usage: _Usage, now_ms: int) -> None:
        usage.refused += 1
        if usage.refused > self._budgets.refusals_to_ban:
            usage.bans += 1
            usage.banned_until_ms = now_ms + _FIRST_BAN_MS * 2 ** (usage.bans - 1)
            raise errors.banned(usage.banned_until_ms)
        raise errors.too_heavy(self._budgets.weight, (usage.window + 1) * MINUTE_MS)


class OrderLimiter:
    """Counts each account's unfilled orders: placed ones count, a first fill takes one off again."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}

    def require_room(self, api_key: str, now_ms: int) -> None:
        """Raises the 429 error when a window is full."""
        for name, length in ORDER_WINDOWS.items():
            limit = self.limit(name)
            if self.count(api_key, name, now_ms) >= limit:
                retry_at_ms = (now_ms // length + 1) * length
                raise errors.too_many_orders(limit, _WINDOW_NAMES[name], retry_at_ms)

    def placed(self, api_key: str, now_ms: int) -> None:
        self._add(api_key, 1, now_ms)

    def first_filled(self, api_key: str, now_ms: int) -> None:
        self._add(api_key, -1, now_ms)

    def limit(self, name: str) -> int:
        return self._budgets.orders_10s if name == "10S" else self._budgets.orders_1d

    def count(self, api_key: str, name: str, now_ms: int) -> int:
        window, count = self._counts.get((api_key, name), (-1, 0))
        return count if window == now_ms // ORDER_WINDOWS[name] else 0

    def _add(self, api_key: str, change: int, now_ms: int) -> None:
        for name, length in ORDER_WINDOWS.items():
            count = max(0, self.count(api_key, name, now_ms) + change)
            self._counts[api_key, name] = (now_ms // length, count)
