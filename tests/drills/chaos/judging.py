"""Asking the judge of a run, and waiting until nothing differs any more."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from desproject.config import BASE_DIR
from tests.drills.chaos.site import Site
from tests.drills.chaos.tenants import Load

QUIET_SECONDS = 60.0


class JudgeAsked:
    """The judge's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, site: Site, load: Load) -> "JudgeAsked":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.drills.chaos.judge", cwd=BASE_DIR, limit=2**28,
            env={**_inherited(), **site.environment, "DES_ROLE": "command"},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        judge = cls(process)
        judge._tell({
            "keys": {str(tenant.connection): tenant.api_key for tenant in load.tenants},
            "limits": {str(tenant.connection): tenant.limits for tenant in load.tenants},
            "users": [str(tenant.user) for tenant in load.tenants], "log": str(site.log()),
        })  # fmt: skip
        return judge

    async def ask(self, what: str, **asked: Any) -> Any:
        """Its answer. Raises RuntimeError where it can't say."""
        self._tell({"what": what, **asked})
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        told = json.loads(line) if line else {"error": "the judge ended"}
        if "error" in told:
            raise RuntimeError(told["error"])
        return told

    def _tell(self, told: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told).encode() + b"\n")

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _inherited() -> dict[str, str]:
    """What the judge's process needs of ours; Django is set up there, not here."""
    return {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")} | {
        "DJANGO_SETTINGS_MODULE": "desproject.settings"
    }


async def settle(
    site: Site, session: aiohttp.ClientSession, judge: JudgeAsked, load: Load
) -> tuple[dict[str, Any], float]:
    """Cancels what rests, and compares until nothing differs or the time is over."""
    began = time.monotonic()
    while True:
        await load.cancel(await judge.ask("open_orders"))
        over = time.monotonic() - began > QUIET_SECONDS
        ledger = await site.save_ledger(session)
        verdict = await judge.ask("verdict", ledger=str(ledger), accepted=sorted(load.accepted), with_story=over)
        if not verdict["kinds"] or over:
            return verdict, time.monotonic() - began
        tell(f"after {time.monotonic() - began:.0f} s: {verdict['kinds']}")
        await asyncio.sleep(3)


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


