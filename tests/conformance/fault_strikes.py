"""How each fault of the matrix is done to a stream, in its venue's own words, by somebody between DES and the exchange.

A strike returns when the fault has happened (``Meddler.struck`` or the simulator counted it) and is over.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from connections.events import BookState, FeedState, OrderTold, PublicTrade, Quote, StreamTold
from connections.exchanges.bithumb import VENUE as BITHUMB
from connections.exchanges.krw.api import KrwApi
from connections.exchanges.upbit import VENUE as UPBIT
from connections.simulator.server import SimulatorServer
from connections.streaming import market as market_module
from connections.streaming.market import MarketStream
from desproject.lib import bus
from tests.conformance.exchange_cases import Case
from tests.connections.conftest import KEY, deadline, strike
from tests.connections.streaming.conftest import MarketReader, UserReader, until
from tests.connections.streaming.meddler import Change, Meddler

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
HUGE_FRAME = 64 * 1024
_KRW: dict[str, KrwApi] = {found.slug: found.versions.shipped for found in (UPBIT, BITHUMB)}


class Strike(Protocol):
    def __call__(self, world: Any, /) -> Awaitable[None]: ...


@dataclass(slots=True)
class MarketWorld:
    """One venue's market stream behind a meddler, and what it published."""

    case: Case
    simulator: SimulatorServer
    meddler: Meddler
    stream: MarketStream
    reader: MarketReader
    figures: Counter[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def api(self) -> KrwApi | None:
        """The won exchange's names."""
        return _KRW.get(self.case.slug)

    def states(self, since: int = 0) -> list[FeedState]:
        return [event for event in self.reader.events[since:] if isinstance(event, FeedState)]

    def count(self, figure: str) -> int:
        book = self.stream.books.get(self.case.symbol)
        special = {"book_gaps": book.gaps if book else 0, "book_repeats": book.repeats if book else 0}
        return special[figure] if figure in special else self.figures[figure]

    def has_counted(self, figure: str, before: int) -> bool:
        return self.count(figure) > before

    def is_whole(self, since: int) -> bool:
        """Up, with a valid book, a best price and a trade after the first ``since`` events."""
        told = self.reader.events[since:]
        ups = [state for state in self.states() if not state.symbol]
        book = self.stream.books.get(self.case.symbol)
        books = [event for event in self.reader.of(BookState) if event.symbol == self.case.symbol]
        return (
            bool(ups) and ups[-1].up and not ups[-1].polled and book is not None and book.valid
            and bool(books) and books[-1].valid
            and all(any(isinstance(event, kind) for event in told) for kind in (Quote, PublicTrade))
        )  # fmt: skip

    # The venue's words.

    def is_depth(self, frame: str) -> bool:
        return "@depth" in frame[:80] if self.api is None else self._kind(frame) == "orderbook"

    def is_trade(self, frame: str) -> bool:
        if self.api is None:
            return re.search(r"@(agg)?[tT]rade\"", frame[:80]) is not None
        return self._kind(frame) == "trade"

    def _kind(self, frame: str) -> str:
        assert self.api is not None
        found: str = json.loads(frame).get(self.api.fields["public_event"]["kind"], "")
        return found

    def with_book(self, frame: str, change: Callable[[dict[str, Any]], None]) -> str:
        """The frame with its book changed."""
        told = json.loads(frame)
        change(told["data"] if self.api is None else told)
        return json.dumps(told)

    def units(self, book: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """A won book's levels and the names of their fields."""
        assert self.api is not None
        names = {name: name for name in ("bid", "bid_size", "ask", "ask_size")} | self.api.fields["book_event_unit"]
        return book[self.api.fields["book_event"]["units"]], names

    # Meddling.

    async def change(
        self, matches: Callable[[str], bool], change: Change, *, times: int = 1, name: str = "frame_changed"
    ) -> None:
        """Changes so many of the frames that match, and returns then."""
        left = times

        def meddle(frame: str) -> Iterable[str]:
            nonlocal left
            if not left or not matches(frame):
                return [frame]
            left -= 1
            self.meddler.struck[name] += 1
            return change(frame)

        self.meddler.frames[""] = meddle
        await until(lambda: not left, f"{self.case.slug}: {times} frames to change")
        del self.meddler.frames[""]

    async def swap(self, matches: Callable[[str], bool]) -> None:
        """Two frames that match change places."""
        held: list[str] = []

        def meddle(frame: str) -> Iterable[str]:
            if self.meddler.struck["swapped"] or not matches(frame):
                return [frame]
            if not held:
                held.append(frame)
                return []
            self.meddler.struck["swapped"] += 1
            return [frame, held[0]]

        self.meddler.frames[""] = meddle
        await until(lambda: self.meddler.struck["swapped"], f"{self.case.slug}: two frames to swap")
        del self.meddler.frames[""]

    async def answer_depth(self, change: Callable[[dict[str, Any]], None]) -> None:
        """A hole in the deltas, and a snapshot that can't be believed in answer to it."""

        def changed(body: str) -> str:
            told = json.loads(body)
            change(told)
            return json.dumps(told)

        self.meddler.answers["/depth"] = changed
        await depth_lost(self)
        await until(lambda: self.meddler.struck["answer_changed"], f"{self.case.slug}: a snapshot to change")
        await asyncio.sleep(0.1)
        del self.meddler.answers["/depth"]


def _times(pairs: list[list[str]], factor: int) -> list[list[str]]:
    return [[str(int(float(price)) * factor // 10), size] for price, size in pairs]


# Sockets.


async def cut(world: MarketWorld) -> None:
    world.meddler.cut("")


async def frozen(world: MarketWorld) -> None:
    """A book that is found to stand still would have the socket replaced before its silence does."""
    world.monkeypatch.setattr(market_module, "STANDING_SECONDS", 60.0)
    world.meddler.freeze("")


async def refused(world: MarketWorld) -> None:
    world.meddler.refuses_sockets = True
    world.meddler.cut("")
    await until(lambda: any(state.polled for state in world.states()), f"{world.case.slug} polled")
    await until(lambda: world.meddler.struck["socket_refused"], f"{world.case.slug} refused")
    world.meddler.refuses_sockets = False


async def mute(world: MarketWorld) -> None:
    world.meddler.mutes_sockets = True
    world.meddler.cut("")
    await until(lambda: any(state.polled for state in world.states()), f"{world.case.slug} polled")
    await until(lambda: world.meddler.struck["socket_muted"] > len(world.stream.sockets), "a second try")
    world.meddler.mutes_sockets = False


async def away(world: MarketWorld) -> None:
    world.meddler.refuses_sockets = world.meddler.refuses_requests = True
    world.meddler.cut("")
    failures = world.figures["connect_failures"]
    await until(lambda: world.figures["connect_failures"] > failures + 2, "tries that failed")
    world.meddler.refuses_sockets = world.meddler.refuses_requests = False


# Messages.


def _nothing(_: str) -> list[str]:
    return []


def _twice(frame: str) -> list[str]:
    return [frame, frame]


async def depth_lost(world: MarketWorld) -> None:
    await world.change(world.is_depth, _nothing)


async def depth_doubled(world: MarketWorld) -> None:
    await world.change(world.is_depth, _twice)


async def depth_swapped(world: MarketWorld) -> None:
    await world.swap(world.is_depth)


async def standing(world: MarketWorld) -> None:
    """Until it was found."""
    figure = "books_standing" if world.api is None else "book_gaps"
    before = world.count(figure)
    world.monkeypatch.setattr(market_module, "CHECK_QUIET_SECONDS", 0.3)
    world.meddler.frames[""] = lambda frame: [] if world.is_depth(frame) else [frame]
    await until(lambda: world.count(figure) > before, f"{world.case.slug}: it is found", seconds=20)
    del world.meddler.frames[""]


async def trade_lost(world: MarketWorld) -> None:
    await world.change(world.is_trade, _nothing)


async def trade_doubled(world: MarketWorld) -> None:
    await world.change(world.is_trade, _twice)


async def trade_swapped(world: MarketWorld) -> None:
    await world.swap(world.is_trade)


# Books.


async def crossed(world: MarketWorld) -> None:
    def change(book: dict[str, Any]) -> None:
        if world.api is None:
            book["b"].append(["99999999", "1"])
        else:
            units, names = world.units(book)
            units[0][names["bid"]] = units[0][names["ask"]] * 2

    await world.change(world.is_depth, lambda frame: [world.with_book(frame, change)])


async def one_sided(world: MarketWorld) -> None:
    await _without(world, asks_only=True)


async def empty(world: MarketWorld) -> None:
    await _without(world, asks_only=False)


async def _without(world: MarketWorld, *, asks_only: bool) -> None:
    sides = ("asks",) if asks_only else ("bids", "asks")
    if world.api is None:
        await world.answer_depth(lambda book: book.update({side: [] for side in sides}))
        return

    def change(book: dict[str, Any]) -> None:
        units, names = world.units(book)
        for unit in units:
            unit.update({names[f"{side[:3]}_size"]: 0 for side in sides})

    await world.change(world.is_depth, lambda frame: [world.with_book(frame, change)])


async def wide(world: MarketWorld) -> None:
    if world.api is None:
        await world.answer_depth(lambda book: book.update(asks=_times(book["asks"], 12)))
        return

    def change(book: dict[str, Any]) -> None:
        units, names = world.units(book)
        for unit in units:
            unit[names["ask"]] *= 1.2

    await world.change(world.is_depth, lambda frame: [world.with_book(frame, change)])


async def no_number(world: MarketWorld) -> None:
    def change(book: dict[str, Any]) -> None:
        if world.api is None:
            book["b"].append(["1.00", "many"])
        else:
            units, names = world.units(book)
            units[0][names["bid_size"]] = "many"

    await world.change(world.is_depth, lambda frame: [world.with_book(frame, change)])


# Frames.


async def html(world: MarketWorld) -> None:
    await world.change(world.is_depth, lambda frame: [HTML, frame])


async def truncated(world: MarketWorld) -> None:
    await world.change(world.is_depth, lambda frame: [frame[: len(frame) // 2], frame])


async def huge(world: MarketWorld) -> None:
    """The limit is lowered meanwhile: what counts is what happens past it."""
    await world.change(world.is_trade, lambda frame: [frame[:-1] + " " * HUGE_FRAME + frame[-1]])


async def unknown_event(world: MarketWorld) -> None:
    event = {"type": "horoscope", "ty": "horoscope", "stream": "btcusdt@horoscope", "data": {"e": "horoscope"}}
    await world.change(world.is_depth, lambda frame: [json.dumps(event), frame])


async def unknown_field(world: MarketWorld) -> None:
    def change(frame: str) -> list[str]:
        return [world.with_book(frame, lambda event: event.update({"zodiac": {"sign": ["Leo"]}}))]

    await world.change(lambda frame: world.is_depth(frame) or world.is_trade(frame), change, times=10)


async def other_numbers(world: MarketWorld) -> None:
    def change(book: dict[str, Any]) -> None:
        if world.api is None:
            for side in ("b", "a"):
                book[side] = [[float(price), float(size)] for price, size in book[side]]
        else:
            units, names = world.units(book)
            for unit in units:
                unit.update({name: str(unit[name]) for name in names.values()})

    await world.change(world.is_depth, lambda frame: [world.with_book(frame, change)], times=3)


async def negative_sequence(world: MarketWorld) -> None:
    def change(book: dict[str, Any]) -> None:
        book.update({"U": -2, "u": -1} if world.api is None else {world.api.fields["book_event"]["as_of_ms"]: -1})

    await world.change(world.is_depth, lambda frame: [world.with_book(frame, change), frame])


# Time, readers, symbols.


async def clock_ahead(world: MarketWorld) -> None:
    strike(world.simulator, "clock_skew", milliseconds=3_600_000)
    await asyncio.sleep(0.3)


async def clock_back(world: MarketWorld) -> None:
    strike(world.simulator, "clock_skew", milliseconds=-60_000)
    await asyncio.sleep(0.3)


async def slow_consumer(world: MarketWorld) -> None:
    append, slept = bus.append, asyncio.Event()

    async def slowly(*args: Any, **kwargs: Any) -> None:
        if not slept.is_set():
            await asyncio.sleep(0.5)
            slept.set()
        await append(*args, **kwargs)

    world.monkeypatch.setattr(bus, "append", slowly)
    await asyncio.wait_for(slept.wait(), 5)
    assert world.figures["market_lost"] == 0


async def symbol_gone(world: MarketWorld) -> None:
    world.stream.want({world.case.symbol: set(), "GONE/USDT": set()})
    await until(lambda: "GONE/USDT" in world.stream._unknown, "the symbol that nobody trades")


# Accounts.


@dataclass(slots=True)
class AccountWorld:
    """One venue's user stream behind a meddler, with one account, and what it published."""

    case: Case
    simulator: SimulatorServer
    meddler: Meddler
    reader: UserReader
    figures: Counter[str]
    orders: list[str] = field(default_factory=list)

    def epochs(self) -> list[int]:
        """Of each time that the account was said to be heard."""
        return [told.epoch for told in self.reader.of(StreamTold) if told.up]

    def count(self, figure: str) -> int:
        return self.figures[figure]

    def has_counted(self, figure: str, before: int) -> bool:
        return self.count(figure) > before

    async def trade(self) -> None:
        """One order that fills."""
        name = f"order-{len(self.orders) + 1}"
        self.orders.append(name)
        await self.case.gateway(KEY).place_order(self.case.market_order(name), deadline())

    def hears_fills_of(self, name: str) -> bool:
        told = [event for event in self.reader.of(OrderTold) if event.client_order_id == name]
        return any(event.status == "filled" for event in told)


async def account_cut(world: AccountWorld) -> None:
    world.meddler.cut("")


async def account_frozen(world: AccountWorld) -> None:
    world.meddler.freeze("")


async def account_refused(world: AccountWorld) -> None:
    failures = world.figures["connect_failures"]
    world.meddler.refuses_sockets = True
    world.meddler.cut("")
    await until(lambda: world.figures["connect_failures"] > failures, "a try that failed")
    world.meddler.refuses_sockets = False


async def account_html(world: AccountWorld) -> None:
    """In front of the next event that comes."""
    struck = world.meddler.struck

    def meddle(frame: str) -> Iterable[str]:
        if struck["html"]:
            return [frame]
        struck["html"] += 1
        return [HTML, frame]

    world.meddler.frames[""] = meddle
    await world.trade()
    await until(lambda: struck["html"], "an event")


async def account_doubled(world: AccountWorld) -> None:
    strike(world.simulator, "duplicate_event")
    await world.trade()
    await until(lambda: world.simulator.faults.fired["duplicate_event"], "doubled events")  # type: ignore[index]


async def account_reordered(world: AccountWorld) -> None:
    strike(world.simulator, "reorder_events")
    await world.trade()
    await until(lambda: world.simulator.faults.fired["reorder_events"], "reordered events")  # type: ignore[index]


async def account_clock(world: AccountWorld) -> None:
    """What was measured of it meanwhile is wrong afterwards."""
    strike(world.simulator, "clock_skew", milliseconds=3_600_000)
    world.meddler.cut("")
    await asyncio.sleep(1)
    world.simulator.control.clear_faults()
