"""Request weight per address and orders per account, in windows aligned to the clock."""

from collections import defaultdict
from dataclasses import dataclass

from connections.simulator.binance import errors

MINUTE_MS = 60_000
# Name in the headers: length, and the exchange's words for it.
ORDER_WINDOWS = {
    "10S": (10_000, "SECOND", 10),
    "1M": (MINUTE_MS, "MINUTE", 1),
    "1D": (86_400_000, "DAY", 1),
}
_FIRST_BAN_MS = 120_000


@dataclass(slots=True)
class Budgets:
    """The settable limits. Defaults are the real spot exchange's; None is no limit."""

    weight: int = 6000
    orders_10s: int | None = 100
    orders_1m: int | None = None
    orders_1d: int | None = 200_000
    # So many refused requests in one minute and the address is banned, longer each time.
    refusals_to_ban: int = 20

    def order_windows(self) -> dict[str, int]:
        """The windows in which orders are counted, and how many are allowed."""
        limits = {"10S": self.orders_10s, "1M": self.orders_1m, "1D": self.orders_1d}
        return {name: limit for name, limit in limits.items() if limit is not None}


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
    """Counts each account's orders; where only unfilled ones count, a first fill takes one off again."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}

    @property
    def windows(self) -> dict[str, int]:
        """Each window's limit."""
        return self._budgets.order_windows()

    def require_room(self, api_key: str, now_ms: int) -> None:
        """Raises the 429 error when a window is full."""
        for name, limit in self.windows.items():
            length, unit, count = ORDER_WINDOWS[name]
            if self.count(api_key, name, now_ms) >= limit:
                retry_at_ms = (now_ms // length + 1) * length
                raise errors.too_many_orders(limit, f"{count} {unit}", retry_at_ms)

    def placed(self, api_key: str, now_ms: int) -> None:
        self._add(api_key, 1, now_ms)

    def first_filled(self, api_key: str, now_ms: int) -> None:
        self._add(api_key, -1, now_ms)

    def counts(self, api_key: str, now_ms: int) -> dict[str, int]:
        """The account's orders by window."""
        return {name: self.count(api_key, name, now_ms) for name in self.windows}

    def count(self, api_key: str, name: str, now_ms: int) -> int:
        window, count = self._counts.get((api_key, name), (-1, 0))
        return count if window == now_ms // ORDER_WINDOWS[name][0] else 0

    def _add(self, api_key: str, change: int, now_ms: int) -> None:
        for name in self.windows:
            length = ORDER_WINDOWS[name][0]
            count = max(0, self.count(api_key, name, now_ms) + change)
            self._counts[api_key, name] = (now_ms // length, count)
