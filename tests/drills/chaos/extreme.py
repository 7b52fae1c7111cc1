"""The extreme market: prices fall by a fifth within a minute, fifty times as many messages, a spread twenty times as
wide, and half of all calls to the exchanges end without an answer.

``python -m tests.drills.chaos.extreme --seconds 60``. Tenants trade on four exchanges, by strategies and the API. The
last line on standard output is the result as JSON; exit code 1 unless more than 99.9 % of the orders are in a known
state within 60 s after, simulator and database agree, exits went out while the fall lasted, a daily loss stopped
entries, no limit was exceeded and no process kept on growing.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.drills.chaos.judging import JudgeAsked, settle, tell
from tests.drills.chaos.site import Site, running
from tests.drills.chaos.tenants import Load
from tests.drills.chaos.venues import VENUES, spread

_CALM_SECONDS = 20.0
# A quiet market before: fifty times as much is what one simulator can send.
_SPEED = 0.2
_SYMBOLS = ("BTCUSDT", "ETHUSDT", "KRW-BTC", "KRW-ETH")
# A share of the price, messages and the width of the touch, each against calm.
_STORM = {"move": -0.2, "rate": 50, "spread": 20}
# Together they leave half of all calls without an answer: one processed, one not.
_SILENCE = (
    {"kind": "drop_before", "probability": 0.3},
    {"kind": "accept_then_timeout", "probability": 0.29, "seconds": 1},
)
# The market walks on after the storm.
_FELL = -0.15
_KNOWN_SHARE = 0.999
# Of the most that a process had in the first half of the storm; histories are bounded, so it may not go on growing.
_GROWTH = 1.25
_SAMPLE_SECONDS = 2.0
_ROLES = ("engine", "streams", "web", "tasks")


@dataclass(slots=True)
class Memory:
    """The largest resident size of each role's processes, in MiB, sample by sample."""

    samples: dict[str, list[int]] = field(default_factory=lambda: {role: [] for role in _ROLES})

    async def watch(self, site: Site) -> None:
        while True:
            for role in _ROLES:
                self.samples[role].append(max(map(_resident, site.processes(role)), default=0))
            await asyncio.sleep(_SAMPLE_SECONDS)

    def figures(self) -> dict[str, dict[str, int]]:
        told = {}
        for role, sizes in self.samples.items():
            half = len(sizes) // 2
            told[role] = {"first": sizes[0], "first_half": max(sizes[:half]), "second_half": max(sizes[half:])}
        return told

    def is_flat(self) -> bool:
        return all(seen["second_half"] <= _GROWTH * seen["first_half"] for seen in self.figures().values())


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096 // 2**20


async def run(site: Site, *, seed: int, seconds: float, tenants: int, rate: float) -> dict[str, Any]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        await site.wait_until_up(session)
        load = Load(site, session, seed, daily_loss=True)
        await load.create(spread(tenants))
        judge = await JudgeAsked.start(site, load)
        trading = asyncio.create_task(load.run(rate))
        calm = await _messages(judge, _CALM_SECONDS)
        tell(f"{tenants} tenants trade, {calm:.0f} market messages a second reach the engine; now prices fall")
        prices, before = dict(load.prices), await site.control(session, "GET", "counters")
        memory = Memory()
        watching = asyncio.create_task(memory.watch(site))
        began = await judge.ask("now")
        storm = await _storm(site, session, seconds)
        wild = await _messages(judge, seconds)
        counters = await site.control(session, "GET", "counters")
        await site.control(session, "DELETE", "faults")
        await load.look_at_prices()
        fell = {name: round(float(load.prices[name] / prices[name]) - 1, 3) for name in prices}
        ended = await judge.ask("now")
        load.enough.set()
        await trading
        watching.cancel()
        tell("quiet")
        await load.stop()
        verdict, after = await settle(site, session, judge, load)
        figures = await judge.ask("figures")
        risk = await judge.ask("storm", began=began["now"], ended=ended["now"])
        await judge.end()
    unknown = verdict["kinds"].get("order_unsettled", 0)
    known = 1 - unknown / max(figures["orders"], 1)
    silent = sum(counters["faults"].get(fault["kind"], 0) for fault in _SILENCE)
    calls = sum(counters["requests"].values()) - sum(before["requests"].values())
    checks = {
        "known": known > _KNOWN_SHARE, "nothing_differs": not verdict["kinds"], "exits_fired": risk["exits"] > 0,
        "daily_loss_stopped_entries": risk["stopped_by_daily_loss"] > 0 and not risk["entries_after_daily_loss"],
        "memory_flat": memory.is_flat(), "calls_were_silent": silent > 0,
        "prices_fell": max(fell.values()) < _FELL,
    }  # fmt: skip
    if verdict["kinds"]:
        tell("\n".join(verdict["differences"]))
        tell(json.dumps(verdict["story"], indent=1))
    return {
        "drill": "extreme market", "seed": seed, "seconds": seconds, "tenants": tenants, **figures, **risk,
        "markets": storm, "messages_a_second": {"calm": round(calm), "storm": round(wild)},
        "silent_calls": silent, "calls": calls, "fell": fell, "known_share": round(known, 6),
        "whole_after_seconds": round(after, 1), "memory_mib": memory.figures(), "answers": dict(load.answers),
        "differences": verdict["kinds"], "checks": checks, "good": all(checks.values()),
    }  # fmt: skip


async def _messages(judge: JudgeAsked, seconds: float) -> float:
    """How many market messages a second the engines took meanwhile."""
    before, began = (await judge.ask("ticks"))["ticks"], time.monotonic()
    await asyncio.sleep(seconds)
    return float(((await judge.ask("ticks"))["ticks"] - before) / (time.monotonic() - began))


async def _storm(site: Site, session: aiohttp.ClientSession, seconds: float) -> int:
    """Sets it off everywhere; in how many markets."""
    markets = 0
    for symbol in _SYMBOLS:
        storm: Mapping[str, Any] = {**_STORM, "symbol": symbol, "seconds": seconds * _SPEED}
        markets += (await site.control(session, "POST", "storm", storm))["markets"]
    for venue_fault in _SILENCE:
        await site.control(session, "POST", "faults", venue_fault)
    return markets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.chaos.extreme", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="that the fall takes, %(default)s by default")
    parser.add_argument("--tenants", type=int, default=20, help="%(default)s by default")
    parser.add_argument("--rate", type=float, default=20, help="orders a second over the API, %(default)s by default")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of markets and orders")
    parser.add_argument("--keep-log", help="where DES's log goes at the end")
    options = vars(parser.parse_args())
    kept = options.pop("keep_log")
    tell(f"seed {options['seed']}, on {len(VENUES)} exchanges")
    markets = ("--won-markets", "KRW-BTC,KRW-ETH", "--symbols", "BTCUSDT,ETHUSDT")
    with running("--seed", str(options["seed"]), "--speed", str(_SPEED), *markets) as site:
        try:
            result = asyncio.run(run(site, **options))
        finally:
            if kept:
                shutil.copy(site.log(), kept)
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
