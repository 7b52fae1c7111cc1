"""The cuts drill: sockets of all four venues are cut again and again while orders fill, and everything comes back.

``python -m tests.drills.cuts --cuts 200``. Real stream and engine processes, a PostgreSQL cluster, a Redis and a
simulated exchange of its own, the default pauses between tries. What came back is read where engines read it: of a
feed, its return, then best prices and a valid book of every symbol and a trade; of an account, a new epoch, which makes
its engine ask for what it missed. The last line on standard output is the result as JSON; exit code 1 unless more than
99 % are back within 30 s, all of them at last, and simulator and database agree on every order, fill and balance.
"""

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

import aiohttp
import numpy as np
import redis.asyncio

from connections.events import (
    AnyMarketEvent,
    BookState,
    FeedState,
    PublicTrade,
    Quote,
    StreamTold,
    decode_market,
    decode_user,
    feed_stream,
)
from desproject.lib import bus
from tests.drills.chaos.judging import JudgeAsked, settle, tell
from tests.drills.chaos.site import Site, running
from tests.drills.chaos.tenants import Load
from tests.drills.chaos.venues import VENUES, spread

BACK_WITHIN = 30.0
NEEDED_SHARE = 0.99
_LONGEST_WAIT = 90.0
_PAUSE_SECONDS = 0.5
_SPEED = "4"
_USER_STREAMS = "des:user:*"
_ENVIRONMENT = {"ENGINE_PROCESSES": "1", "STREAM_BACKOFF_CAP_SECONDS": "30", "STREAM_SILENCE_SECONDS": "60"}


@dataclass(slots=True)
class Feed:
    """A feed's public data as engines hear them."""

    symbols: set[str] = field(default_factory=set)
    valid: set[str] = field(default_factory=set)
    # Since it last came up: symbols with a best price, and whether there was a trade.
    quoted: set[str] = field(default_factory=set)
    has_traded: bool = False
    is_up: bool = False
    times_up: int = 0

    def take(self, event: AnyMarketEvent) -> None:
        if isinstance(event, FeedState):
            if not event.symbol:
                self.is_up = event.up and not event.polled
                self.times_up += self.is_up
                self.quoted, self.has_traded = set(), False
        elif isinstance(event, BookState):
            (self.valid.add if event.valid else self.valid.discard)(event.symbol)
        elif isinstance(event, Quote):
            self.symbols.add(event.symbol)
            self.quoted.add(event.symbol)
        elif isinstance(event, PublicTrade):
            self.has_traded = True

    @property
    def is_whole(self) -> bool:
        return self.is_up and self.has_traded and bool(self.symbols) and self.symbols <= self.valid & self.quoted


@dataclass(slots=True)
class Account:
    """A connection's user data as its engine hears them."""

    epoch: int = 0
    is_up: bool = False

    def take(self, told: StreamTold) -> None:
        self.epoch, self.is_up = max(told.epoch, self.epoch), told.up


class Watch:
    """Everything that the stream processes tell."""

    def __init__(self, url: str) -> None:
        self.feeds: dict[str, Feed] = {f"{venue.exchange}:simulator": Feed() for venue in VENUES}
        self.accounts: dict[UUID, Account] = defaultdict(Account)
        self._redis = redis.asyncio.Redis.from_url(url)

    async def run(self) -> None:
        markets = {feed_stream(feed): feed for feed in self.feeds}
        positions = dict.fromkeys(markets, "0")
        while True:
            async for name in self._redis.scan_iter(match=_USER_STREAMS):
                positions.setdefault(name.decode(), "0")
            async for stream, _, payload in bus.read(self._redis, positions, block_ms=100):
                if stream in markets:
                    for event in decode_market(payload).events:
                        self.feeds[markets[stream]].take(event)
                elif isinstance(told := decode_user(payload), StreamTold):
                    self.accounts[told.connection_id].take(told)

    def is_whole(self, connections: set[UUID]) -> bool:
        known = all(connection in self.accounts and self.accounts[connection].is_up for connection in connections)
        return known and all(feed.is_whole for feed in self.feeds.values())

    async def aclose(self) -> None:
        await self._redis.aclose()


@dataclass(slots=True)
class Returns:
    """Sockets that were cut, and how long each feed and each account was away, from the cut on."""

    cuts: dict[str, int] = field(default_factory=lambda: {"market": 0, "user": 0})
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def all(self) -> list[float]:
        return [seconds for found in self.seconds.values() for seconds in found]

    def told(self) -> dict[str, Any]:
        times = self.all
        in_time = sum(seconds <= BACK_WITHIN for seconds in times)
        p50, p99 = (round(float(each), 2) for each in np.percentile(times, (50, 99)))
        return {
            "cuts": sum(self.cuts.values()), "by_kind": self.cuts, "returns": len(times),
            "back_within_30_s": round(in_time / len(times), 4),
            "back_after_seconds": {"p50": p50, "p99": p99, "max": max(times)},
            "by_venue": {name: len(found) for name, found in sorted(self.seconds.items())},
        }  # fmt: skip

    @property
    def is_good(self) -> bool:
        times = self.all
        in_time = sum(seconds <= BACK_WITHIN for seconds in times)
        return in_time > NEEDED_SHARE * len(times) and max(times) < _LONGEST_WAIT


class Cutter:
    """Cuts until there were enough, each time when all was whole."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, watch: Watch, load: Load, seed: int) -> None:
        self.returns = Returns()
        self._site = site
        self._session = session
        self._watch = watch
        self._venues = {tenant.connection: tenant.venue.exchange for tenant in load.tenants}
        self._random = Random(f"{seed}/cuts")

    async def run(self, cuts: int) -> None:
        await self._until_whole()
        while sum(self.returns.cuts.values()) < cuts:
            for kind in ("market", "user"):
                await self._cut(kind)
                await asyncio.sleep(self._random.uniform(0, _PAUSE_SECONDS))

    async def _cut(self, kind: str) -> None:
        feeds = {feed: state.times_up for feed, state in self._watch.feeds.items()}
        epochs = {connection: self._watch.accounts[connection].epoch for connection in self._venues}
        fault = {"kind": "ws_cut", "socket": kind, "abort": self._random.random() < 0.5}
        at = time.monotonic()
        self.returns.cuts[kind] += (await self._site.control(self._session, "POST", "faults", fault))["struck"]
        away: dict[str | UUID, str] = dict(self._venues) if kind == "user" else {feed: feed for feed in feeds}  # type: ignore[arg-type]
        while away and time.monotonic() - at < _LONGEST_WAIT:
            await asyncio.sleep(0.02)
            for who in list(away):
                if self._is_back(who, feeds, epochs):
                    self._note(away.pop(who), kind, round(time.monotonic() - at, 2))
        for who in away:
            self._note(away[who], kind, _LONGEST_WAIT)
            tell(f"not back within {_LONGEST_WAIT:g} s: {kind} {who}")

    def _is_back(self, who: str | UUID, feeds: Mapping[str, int], epochs: Mapping[UUID, int]) -> bool:
        if isinstance(who, UUID):
            account = self._watch.accounts[who]
            return account.is_up and account.epoch > epochs[who]
        feed = self._watch.feeds[who]
        return feed.times_up > feeds[who] and feed.is_whole

    def _note(self, venue: str, kind: str, seconds: float) -> None:
        self.returns.seconds[f"{venue.partition(':')[0]} {kind}"].append(seconds)

    async def _until_whole(self) -> None:
        end = time.monotonic() + _LONGEST_WAIT
        while not self._watch.is_whole(set(self._venues)):
            if time.monotonic() > end:
                raise TimeoutError(f"not whole before the first cut: {self._watch.feeds}, {dict(self._watch.accounts)}")
            await asyncio.sleep(0.1)


async def run(site: Site, *, seed: int, cuts: int, tenants: int, rate: float) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        await site.wait_until_up(session)
        load, watch = Load(site, session, seed), Watch(site.redis.url)
        watching = asyncio.create_task(watch.run())
        await load.create(spread(tenants))
        judge = await JudgeAsked.start(site, load)
        cutter = Cutter(site, session, watch, load, seed)
        trading = asyncio.create_task(load.run(rate))
        began = time.monotonic()
        await cutter.run(cuts)
        seconds = time.monotonic() - began
        load.enough.set()
        await trading
        watching.cancel()
        await watch.aclose()
        tell(f"{json.dumps(cutter.returns.told())}; quiet")
        await load.stop()
        verdict, _ = await settle(site, session, judge, load)
        figures = await judge.ask("figures")
        await judge.end()
    if verdict["kinds"]:
        tell("\n".join(verdict["differences"]))
    return {
        "drill": "cuts", "seed": seed, "seconds": round(seconds, 1), "tenants": tenants, **cutter.returns.told(),
        "orders": figures["orders"], "trades": figures["trades"], "differences": verdict["kinds"],
        "good": cutter.returns.is_good and not verdict["kinds"] and figures["trades"] > 0,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.cuts", description=__doc__)
    parser.add_argument("--cuts", type=int, default=200, help="sockets to cut at least, %(default)s by default")
    parser.add_argument("--tenants", type=int, default=8, help="%(default)s by default")
    parser.add_argument("--rate", type=float, default=6, help="orders a second over the API, %(default)s by default")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of markets, orders and cuts")
    options = vars(parser.parse_args())
    tell(f"seed {options['seed']}")
    with running("--seed", str(options["seed"]), "--speed", _SPEED, environment=_ENVIRONMENT) as site:
        result = asyncio.run(run(site, **options))
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
