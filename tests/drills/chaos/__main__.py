"""The chaos run: everything is killed, restarted, cut and lied to while tenants trade, and nothing may come of it.

``python -m tests.drills.chaos --duration 1200 --tenants 50 --rate 60``. It runs a PostgreSQL cluster, a Redis and a
simulated exchange of its own, at the venues' real limits. The last line on standard output is the result as JSON; exit
code 1 if, 60 s after quiet, simulator and database differ in anything, a limit was exceeded, or a blow never struck:
the first difference is told on standard error, with its timeline.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiohttp

from tests.drills.chaos.blows import Disturber
from tests.drills.chaos.judging import JudgeAsked, settle, tell
from tests.drills.chaos.site import Site, running
from tests.drills.chaos.tenants import Load
from tests.drills.chaos.venues import spread

_SPEED = "4"


async def run(site: Site, *, seed: int, duration: float, tenants: int, rate: float) -> dict[str, Any]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        await site.wait_until_up(session)
        load, disturber = Load(site, session, seed), Disturber(site, session, seed)
        await load.create(spread(tenants))
        judge = await JudgeAsked.start(site, load)
        tell(f"{tenants} tenants trade; {len(disturber.deck)} kinds of blows, seed {seed}")
        began = time.monotonic()
        before = await judge.ask("figures")
        trading = asyncio.create_task(load.run(rate))
        await disturber.run(duration)
        load.enough.set()
        await trading
        seconds = time.monotonic() - began
        struck = await disturber.end()
        tell("quiet")
        await load.stop()
        traded = await judge.ask("figures")
        verdict, after = await settle(site, session, judge, load)
        figures = await judge.ask("figures")
        await judge.end()
    rates = {f"{name}_a_second": round((traded[name] - before[name]) / seconds, 1) for name in ("orders", "attempts")}
    missed = sorted(kind for kind, count in struck.items() if not count)
    result = {
        "drill": "chaos", "seed": seed, "seconds": round(seconds, 1), "tenants": tenants,
        **rates, **figures, "accepted": len(load.accepted),
        "answers": dict(load.answers), "blows": struck, "never_struck": missed,
        "whole_after_seconds": round(after, 1), "differences": verdict["kinds"],
        "good": not verdict["kinds"] and not missed,
    }  # fmt: skip
    if verdict["kinds"]:
        _tell_story(verdict, disturber)
    return result


def _tell_story(verdict: Mapping[str, Any], disturber: Disturber) -> None:
    story = dict(verdict["story"])
    blows = disturber.blows
    if "from" in story:
        start, end = datetime.fromisoformat(story["from"]), datetime.fromisoformat(story["to"])
        blows = [blow for blow in blows if start <= blow.at <= end]
    tell("\n".join(verdict["differences"]))
    tell(json.dumps({**story, "blows": [blow.as_json() for blow in blows[-60:]]}, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=1200, help="seconds of trading, %(default)s by default")
    parser.add_argument("--tenants", type=int, default=50, help="%(default)s by default")
    parser.add_argument("--rate", type=float, default=60, help="orders a second over the API, %(default)s by default")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of markets, orders and blows")
    parser.add_argument("--keep-log", help="where DES's log goes at the end")
    options = vars(parser.parse_args())
    kept = options.pop("keep_log")
    tell(f"seed {options['seed']}")
    with running("--seed", str(options["seed"]), "--speed", _SPEED) as site:
        try:
            result = asyncio.run(run(site, **options))
        finally:
            if kept:
                shutil.copy(site.log(), kept)
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
