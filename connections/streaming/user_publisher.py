"""User events on their way to Redis: in order, numbered per account, none lost silently."""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass
from uuid import UUID

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from accounts.tenancy import shard_of
from connections.events import AnyUserEvent, BalancesTold, FillTold, OrderTold, StreamTold, encode, user_stream
from connections.exchanges.contract import BalanceNews, OrderNews
from connections.gateways import Fill
from desproject.lib import bus
from desproject.lib.clock import Clock, to_millis

log = structlog.get_logger(__name__)

# Past this an engine that doesn't read loses the oldest, which it sees by the jump of the sequence.
KEEP = 50_000
MAX_WAITING = 50_000
_BATCH = 200
_WRITE_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@dataclass(slots=True)
class Line:
    """One account's numbering: a new epoch says that events may have been missed before it."""

    connection_id: UUID
    user_id: UUID
    epoch: int = 0
    sequence: int = 0

    @property
    def stream(self) -> str:
        return user_stream(shard_of(self.user_id))


class UserPublisher:
    """The events of all accounts on one feed. When more wait than MAX_WAITING they are dropped and every account gets
    a new epoch, so that the engines ask the exchange what they missed."""

    def __init__(self, client: "redis.asyncio.Redis", figures: Counter[str], clock: Clock) -> None:
        self._redis = client
        self._figures = figures
        self._clock = clock
        self._lines: dict[UUID, Line] = {}
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._has_some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0

    def line(self, connection_id: UUID, user_id: UUID) -> Line:
        """The account's numbering, made on first use."""
        return self._lines.setdefault(connection_id, Line(connection_id, user_id))

    def forget(self, connection_id: UUID) -> None:
        self._lines.pop(connection_id, None)

    def up(self, line: Line, reason: str = "") -> None:
        """The account is heard from now on; what happened before may have been missed."""
        self._new_epoch(line)
        self._put(line, self._told(line, up=True, reason=reason))

    def down(self, line: Line, reason: str) -> None:
        """The account isn't heard any more."""
        self._put(line, self._told(line, up=False, reason=reason))

    def beat(self, line: Line) -> None:
        """Says that the account is being heard. While others wait to be written it says nothing new."""
        if not self._waiting:
            self._put(line, self._told(line, up=True, reason=""))

    def order(self, line: Line, news: OrderNews, seen_ns: int) -> None:
        report = news.report
        line.sequence += 1
        self._put(
            line,
            OrderTold(
                line.connection_id, line.user_id, line.epoch, line.sequence, seen_ns,
                report.client_order_id, report.exchange_order_id, report.symbol, report.side, report.type,
                report.time_in_force, report.status, report.quantity, report.price, report.filled_quantity,
                to_millis(report.reported_at), _fill_told(report.fills[0]) if report.fills else None,
                report.reject_reason,
            ),
        )  # fmt: skip

    def balances(self, line: Line, news: BalanceNews, seen_ns: int) -> None:
        line.sequence += 1
        rows = tuple((row.asset, row.free, row.locked) for row in news.balances)
        self._put(
            line,
            BalancesTold(
                line.connection_id, line.user_id, line.epoch, line.sequence, seen_ns, rows, news.as_of_ms
            ),
        )  # fmt: skip

    @property
    def waiting(self) -> int:
        """How many events aren't confirmed yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Writes until cancelled. What Redis didn't confirm is written again: readers know a number they had."""
        pause = _FIRST_PAUSE
        while True:
            await self._has_some.wait()
            batch = [self._waiting[index] for index in range(min(len(self._waiting), _BATCH))]
            dropped = self._dropped
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._write(batch)
            except (RedisError, OSError, TimeoutError) as error:
                self._figures["user_write_failures"] += 1
                log.warning("user_events_not_written", waiting=len(self._waiting), error=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            if dropped == self._dropped:
                self._done(len(batch))

    async def flush(self, seconds: float) -> None:
        """Waits until all is written, but not for long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("user_events_left", count=len(self._waiting))

    async def _write(self, batch: list[tuple[str, bytes]]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for stream, payload in batch:
            pipe.xadd(stream, {bus.FIELD: payload}, maxlen=KEEP, approximate=True)
        await pipe.execute()

    def _done(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self._figures["user_events"] += count
        if not self._waiting:
            self._has_some.clear()
            self._idle.set()

    def _put(self, line: Line, event: AnyUserEvent) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._drop_all()
            return
        self._waiting.append((line.stream, encode(event)))
        self._has_some.set()
        self._idle.clear()

    def _drop_all(self) -> None:
        self._figures["user_events_dropped"] += len(self._waiting)
        log.error("user_events_dropped", count=len(self._waiting))
        self._waiting.clear()
        self._dropped += 1
        for line in self._lines.values():
            self.up(line, "events were dropped")

    def _told(self, line: Line, *, up: bool, reason: str) -> StreamTold:
        return StreamTold(
            line.connection_id, line.user_id, line.epoch, line.sequence, time.time_ns(), up, reason
        )

    def _new_epoch(self, line: Line) -> None:
        """Greater than any before it, also before a restart of this process."""
        line.epoch = max(line.epoch + 1, to_millis(self._clock.now()))
        line.sequence = 0


def _fill_told(fill: Fill) -> FillTold:
    return FillTold(
        fill.exchange_trade_id, fill.quantity, fill.price, fill.fee, fill.fee_asset, fill.liquidity,
        to_millis(fill.executed_at),
    )  # fmt: skip
