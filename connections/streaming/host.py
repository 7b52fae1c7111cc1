"""The stream process's work: the streams whose leases it holds, what they should carry, prices, and the beat for the
layers above."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import redis.asyncio
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from redis.exceptions import RedisError

from audit.record import record
from audit.sealer import Sealer
from connections import database, demand
from connections.exchanges import Venue, venue
from connections.exchanges.network import Network
from connections.leases import HeldLease, LeaseKeeper
from connections.prices import PriceCache
from connections.streaming.kept_socket import CUTS, CUTS_AN_HOUR, SocketSlots, Timing
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey, accounts_by_feed, is_known_feed
from connections.streaming.user_publisher import UserPublisher
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

KIND = "stream"
LOOK_SECONDS = 1.0
BEAT_SECONDS = 2.0
_REPORT_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_FLUSH_SECONDS = 2.0
# A Redis that doesn't answer (frozen, half-open socket) is asked anew.
_PATIENCE_SECONDS = 30.0
_WAKE = "connection"

Stream = MarketStream | UserStream


class StreamHost:
    """Runs until it is told to drain: then leases are given back, sockets closed, and what waits is written."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, look_seconds: float = LOOK_SECONDS) -> None:
        self.figures: Counter[str] = Counter()
        self.streams: dict[str, Stream] = {}
        self._clock = clock
        self._look_seconds = look_seconds
        self._redis: redis.asyncio.Redis = bus.connect()
        self._network = Network(clock)
        self._prices = PriceCache()
        self._slots = SocketSlots(settings.CONFIG.stream_sockets)
        self._look_now = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._publishers: dict[str, MarketPublisher | UserPublisher] = {}
        self._accounts: dict[str, list[AccountKey]] = {}
        self._wanted: demand.Wanted = {}
        self._asked: dict[str, set[str]] = {}
        # Streams that were cut too often, until the audit log has it.
        self._cut: set[str] = set()
        self._sealer = Sealer(database.run, self.figures, clock)
        self.keeper = LeaseKeeper(
            KIND, _keys, database.run, on_gain=self._on_gain, on_loss=self._on_loss, figures=self._figures, clock=clock
        )

    async def run(self) -> None:
        """Works until ``drain`` or until the process's row says so."""
        background = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("look", self._keep_looking()),
                ("beat", self._beat()),
                ("wakes", self._listen()),
                ("prices", self._prices.mirror(self._redis)),
                ("report", self._report()),
                # Here because it is off the order path, and some stream process always runs.
                ("seals", self._sealer.run()),
            )
        ]
        log.info("streams_started", owner=str(self.keeper.owner))
        gauges = partial(self._gauges, asyncio.get_running_loop())
        try:
            with METRICS.attached("streams", self.figures, gauges):
                await self.keeper.run()
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            for key in list(self._tasks):
                await self._on_loss(key)
            await self._prices.mirror_once(self._redis)
            await self._network.aclose()
            await self._redis.aclose()
            log.info("streams_ended", owner=str(self.keeper.owner))

    def drain(self) -> None:
        """Hands everything over and ends ``run``."""
        self.keeper.draining.set()

    def wake(self) -> None:
        """Looks at once at what is wanted."""
        self._look_now.set()

    # Leases.

    async def _on_gain(self, lease: HeldLease) -> None:
        kind, _, feed = lease.key.partition("|")
        found = venue(feed.rpartition(":")[0])
        make = self._market if kind == "market" else self._user
        stream = self.streams[lease.key] = make(feed, found, lease)
        self._tasks[lease.key] = asyncio.create_task(self._supervise(lease.key, stream), name=lease.key)
        self._look_now.set()

    async def _on_loss(self, key: str) -> None:
        """Ends the stream; what it has already heard is written first."""
        task, publisher = self._tasks.pop(key, None), self._publishers.pop(key, None)
        stream = self.streams.pop(key, None)
        if publisher is not None and task is not None and not task.done():
            await publisher.flush(_FLUSH_SECONDS)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if isinstance(stream, MarketStream):
            self._prices.drop(stream.feed)

    def _market(self, feed: str, found: Venue, lease: HeldLease) -> MarketStream:
        publisher = MarketPublisher(self._redis, feed, lease.epoch, self.figures)
        self._publishers[lease.key] = publisher
        return MarketStream(
            feed, found, self._network, publisher, self._prices,
            timing=_timing(), figures=self.figures, clock=self._clock, slots=self._slots, on_alert=self._on_alert,
        )  # fmt: skip

    def _user(self, feed: str, found: Venue, lease: HeldLease) -> UserStream:
        publisher = UserPublisher(self._redis, self.figures, self._clock)
        self._publishers[lease.key] = publisher
        return UserStream(
            feed, found, self._network, publisher, timing=_timing(), figures=self.figures, clock=self._clock,
            slots=self._slots, on_alert=self._on_alert,
        )  # fmt: skip

    def _on_alert(self, name: str, kind: str) -> None:
        if kind == CUTS:
            self._cut.add(name)

    async def _supervise(self, key: str, stream: Stream) -> None:
        """Starts a stream again that ended with an error."""
        while True:
            try:
                await stream.run()
            except Exception:  # a fault of ours: the stream starts anew
                self.figures["stream_crashes"] += 1
                log.exception("stream_crashed", stream=key)
            await asyncio.sleep(_RESTART_SECONDS)

    # What is wanted.

    async def _keep_looking(self) -> None:
        while True:
            await self._guarded(self._look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._look_seconds)
            self._look_now.clear()

    async def _look(self) -> None:
        """Asks the layers above, the consoles and the connections what is wanted, and tells the streams."""
        for stream in self.streams.values():
            stream.keep_up()
        self._accounts, self._wanted = await database.run(_look_in_database)
        for stream in list(self.streams.values()):
            if isinstance(stream, UserStream):
                stream.want(self._accounts.get(stream.feed, []))
            else:
                stream.want(await self._symbols(stream.feed))
                await self._read_anew(stream)

    async def _symbols(self, feed: str) -> dict[str, set[str]]:
        """What trades first, then what is only looked at."""
        wanted = {symbol: set(timeframes) for symbol, timeframes in sorted(self._wanted.get(feed, {}).items())}
        with contextlib.suppress(RedisError, OSError):  # else what consoles asked for last goes on
            self._asked[feed] = await demand.asked(self._redis, feed)
        for symbol in sorted(self._asked.get(feed, ())):
            wanted.setdefault(symbol, set())
        return wanted

    async def _read_anew(self, stream: MarketStream) -> None:
        with contextlib.suppress(RedisError, OSError):  # who asked doesn't wait for ever
            for symbol in await demand.asked_anew(self._redis, stream.feed):
                stream.read_anew(symbol)

    async def _beat(self) -> None:
        while True:
            await self._guarded(lambda: database.run(demand.beat))
            await self._guarded(self._write_down_cuts)
            await asyncio.sleep(BEAT_SECONDS)

    async def _write_down_cuts(self) -> None:
        """For the risk register, which follows the audit log (STR-8)."""
        for name in sorted(self._cut):
            details = {"stream": name, "cuts": CUTS_AN_HOUR + 1}
            await database.run(partial(record, "stream.cuts", user_id=None, details=details))
            self._cut.discard(name)

    async def _listen(self) -> None:
        """Wake-ups about connections; one that gets lost costs a second."""
        while True:
            with contextlib.suppress(RedisError, OSError, msgspec.DecodeError):  # a message that can't be read is none
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(bus.WAKE_CHANNEL)
                    async for message in subscription.listen():
                        if message["type"] == "message" and bus.decode_wake(message["data"]).what == _WAKE:
                            self._look_now.set()
            await asyncio.sleep(0.2)

    async def _guarded(self, work: Callable[[], Awaitable[object]]) -> None:
        """Database or Redis away, or a fault of ours: what runs goes on, and it is tried again."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await work()
        except (DatabaseError, InterfaceError, RedisError, OSError) as error:
            log.warning("streams_not_updated", error=type(error).__name__)
        except Exception:  # nobody else would start this work again
            self.figures["part_failures"] += 1
            log.exception("streams_not_updated")

    # Figures.

    def _figures(self) -> dict[str, Any]:
        return {**self.figures, **self._gauges(asyncio.get_running_loop())}

    def _gauges(self, loop: asyncio.AbstractEventLoop) -> dict[str, int]:
        """How things are now. Called by the metrics' thread too: it changes nothing and iterates over copies."""
        streams = list(self.streams.values())
        markets = [stream for stream in streams if isinstance(stream, MarketStream)]
        users = [stream for stream in streams if isinstance(stream, UserStream)]
        books = [book for stream in markets for book in list(stream.books.values())]
        return {
            "streams": len(streams),
            "sockets": self._slots.taken,
            "streams_up": sum(stream.is_up for stream in streams),
            "feeds_polled": sum(stream.is_polled for stream in markets),
            "symbols": sum(len(stream.wanted) for stream in markets),
            "books": len(books),
            "books_valid": sum(book.valid for book in books),
            "book_gaps": sum(book.gaps for book in books),
            "accounts": sum(len(stream.accounts) for stream in users),
            "events_waiting": sum(publisher.waiting for publisher in list(self._publishers.values())),
            "tasks": len(asyncio.all_tasks(loop)),
        }

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            log.info("streams_figures", **self._figures())


def _timing() -> Timing:
    config = settings.CONFIG
    return Timing(
        config.stream_backoff_cap_seconds, config.stream_silence_seconds,
        poll_after=config.stream_poll_after_seconds, poll_every=config.stream_poll_seconds,
    )  # fmt: skip


def _look_in_database() -> tuple[dict[str, list[AccountKey]], demand.Wanted]:
    return accounts_by_feed(), demand.wanted()


def _keys() -> set[str]:
    """All streams that the installation needs now."""
    accounts, wanted = _look_in_database()
    markets = {feed for feed in accounts.keys() | wanted.keys() if is_known_feed(feed)}
    return {f"market|{feed}" for feed in markets} | {f"user|{feed}" for feed in accounts}
