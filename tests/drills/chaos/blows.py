"""What strikes a site: processes killed or frozen, services restarted, an exchange that cuts, delays, lies and bans.

Blows are dealt from a shuffled deck, so that each kind comes before any comes twice. A blow counts once its effect was
seen: the process gone or stopped, another server answering, the simulator's own count of faults.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import psycopg

from tests.drills.chaos.site import LEASE_SECONDS, Site
from tests.drills.chaos.venues import VENUES, Venue

_LONGER_SECONDS = 60.0
_LONGER_PAUSE = 3.0
_ROLES = ("engine", "streams", "web", "tasks")
# An engine's own pid, as the engine says: django-q's other processes have the same role.
_SHARD_PIDS = "SELECT pid FROM processes WHERE kind = 'shard' AND seen_at > now() - interval '10 seconds'"


@dataclass(frozen=True, slots=True)
class Blow:
    """What was done, when."""

    at: datetime
    kind: str
    detail: str

    def as_json(self) -> dict[str, str]:
        return {"at": self.at.isoformat(), "kind": self.kind, "detail": self.detail}


class Disturber:
    """Deals blows until it is told to stop; ``struck`` counts those whose effect was seen."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, seed: int) -> None:
        self.blows: list[Blow] = []
        self.struck: Counter[str] = Counter()
        self._site = site
        self._session = session
        self._random = Random(f"{seed}/blows")
        self._frozen: set[int] = set()
        self._thawing: set[asyncio.Task[None]] = set()
        self.deck: dict[str, Callable[[], Awaitable[None]]] = {
            **{f"kill {role}": partial(self._kill, role) for role in _ROLES},
            **{f"freeze {role}": partial(self._freeze, role) for role in _ROLES},
            "kill an engine": self._kill_engine,
            "freeze an engine": self._freeze_engine,
            "redis restarted empty": self._restart_redis,
            "postgresql restarted fast": partial(self._restart_postgresql, "fast"),
            "postgresql restarted immediate": partial(self._restart_postgresql, "immediate"),
            **{name: partial(self._fault, name) for name in self._faults()},
        }

    async def run(self, seconds: float) -> None:
        """Strikes for so long: the whole deck in two thirds of it, then again what found nothing to strike (no open
        socket, no order on its way) before any kind comes twice; if need be a while longer."""
        now = asyncio.get_running_loop().time
        began, end = now(), now() + seconds
        beat = min(6.0, seconds * 2 / 3 / len(self.deck))
        cards: list[str] = []
        dealt = 0
        while now() < end:
            if not cards:
                counts = await self._counts()
                left = [kind for kind, count in counts.items() if not count] or list(self.deck)
                cards = self._random.sample(left, len(left))
            await self._strike(cards.pop())
            dealt += 1
            # By the clock: a blow that takes long itself is followed sooner by the next.
            await asyncio.sleep(max(began + dealt * beat - now(), self._random.uniform(0.2, 0.4) * beat))
        end += _LONGER_SECONDS
        while now() < end and (left := [kind for kind, count in (await self._counts()).items() if not count]):
            await self._strike(self._random.choice(left))
            await asyncio.sleep(_LONGER_PAUSE)

    async def _strike(self, kind: str) -> None:
        try:
            await self.deck[kind]()
        except (OSError, psycopg.Error, aiohttp.ClientError, TimeoutError, RuntimeError) as error:
            self._note(kind, f"missed: {error!r}"[:200])

    async def end(self) -> dict[str, int]:
        """Lets everything work again; returns how often each kind struck, 0 where its effect was never seen."""
        for task in list(self._thawing):
            task.cancel()
        for pid in list(self._frozen):
            self._thaw(pid)
        counts = await self._counts()
        await self._site.control(self._session, "DELETE", "faults")
        return counts

    def _note(self, kind: str, detail: str) -> None:
        self.blows.append(Blow(datetime.now(UTC), kind, detail))

    # Processes.

    async def _kill(self, role: str) -> None:
        await self._kill_one(f"kill {role}", self._site.processes(role))

    async def _kill_engine(self) -> None:
        await self._kill_one("kill an engine", await self._engines())

    async def _kill_one(self, kind: str, pids: list[int]) -> None:
        pid = self._random.choice(pids or [0])
        if not pid:
            return self._note(kind, "missed: there is none")
        os.kill(pid, signal.SIGKILL)
        self._note(kind, f"pid {pid}")
        for _ in range(200):
            if _state(pid) in ("", "Z"):
                self.struck[kind] += 1
                return None
            await asyncio.sleep(0.02)
        return None

    async def _freeze(self, role: str) -> None:
        await self._freeze_one(f"freeze {role}", self._site.processes(role))

    async def _freeze_engine(self) -> None:
        await self._freeze_one("freeze an engine", await self._engines())

    async def _freeze_one(self, kind: str, pids: list[int]) -> None:
        """Past its lease; it wakes up when others have long gone on."""
        pid = self._random.choice([pid for pid in pids if pid not in self._frozen] or [0])
        if not pid:
            return self._note(kind, "missed: there is none")
        os.kill(pid, signal.SIGSTOP)
        self._frozen.add(pid)
        self._note(kind, f"pid {pid}")
        await asyncio.sleep(0.05)
        self.struck[kind] += _state(pid) == "T"
        task = asyncio.create_task(self._thaw_later(pid))
        self._thawing.add(task)
        task.add_done_callback(self._thawing.discard)
        return None

    async def _thaw_later(self, pid: int) -> None:
        await asyncio.sleep(LEASE_SECONDS * self._random.uniform(1.3, 2.5))
        self._thaw(pid)
        self._note("wakes up", f"pid {pid}")

    def _thaw(self, pid: int) -> None:
        self._frozen.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _engines(self) -> list[int]:
        rows = await asyncio.to_thread(self._site.installation.query, _SHARD_PIDS)
        return [pid for (pid,) in rows if _state(pid) not in ("", "Z")]

    # Services.

    async def _restart_redis(self) -> None:
        killed = await asyncio.to_thread(self._site.redis.restart_empty)
        self._note("redis restarted empty", f"pid {killed}")
        self.struck["redis restarted empty"] += _state(killed) in ("", "Z")

    async def _restart_postgresql(self, mode: str) -> None:
        kind, began = f"postgresql restarted {mode}", datetime.now(UTC)
        await asyncio.to_thread(self._site.cluster.restart, mode)
        rows = await asyncio.to_thread(self._site.installation.query, "SELECT pg_postmaster_start_time()")
        self._note(kind, f"began {began.isoformat()}")
        self.struck[kind] += bool(rows) and rows[0][0] >= began

    # The exchange.

    def _faults(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """By name: one fault to set (connections/simulator/faults.py)."""
        shares = [venue.share for venue in VENUES]

        def where() -> Venue:
            """As often as the venue is traded on: a fault strikes only what comes."""
            return self._random.choices(VENUES, shares)[0]

        def placing() -> dict[str, Any]:
            return {"path": where().place_path, "method": "POST"}

        def anything() -> dict[str, Any]:
            return {"path": where().prefix}

        return {
            "cuts market sockets": lambda: {"kind": "ws_cut", "socket": "market", "abort": True},
            "cuts user sockets": lambda: {"kind": "ws_cut", "socket": "user", "abort": True},
            "closes sockets": lambda: {"kind": "ws_cut"},
            "freezes user sockets": lambda: {"kind": "ws_freeze", "socket": "user", "seconds": 4},
            "delays orders": lambda: {"kind": "delay", **placing(), "seconds": 1.5, "count": 5},
            "delays past the deadline": lambda: {"kind": "delay", **placing(), "seconds": 4, "count": 2},
            "takes an order and says nothing": lambda: {"kind": "accept_then_timeout", **placing(), "count": 4},
            "takes an order and says nothing for long": lambda: {
                "kind": "accept_then_timeout", **placing(), "seconds": 12, "count": 2
            },
            "drops orders": lambda: {"kind": "drop_before", **placing(), "count": 4},
            "answers an order with nonsense": lambda: {"kind": "malformed", **placing(), "status": 200, "count": 2},
            "answers 503": lambda: {"kind": "http_error", **placing(), "status": 503, "count": 4},
            "answers 429": lambda: {"kind": "http_error", **anything(), "status": 429, "code": -1003,
                                    "retry_after": 2, "count": 3},
            "bans with 418": lambda: {"kind": "http_error", **anything(), "status": 418, "code": -1003,
                                      "retry_after": 3, "count": 5},
            "doubles events": lambda: {"kind": "duplicate_event", "count": 30},
            "turns events round": lambda: {"kind": "reorder_events", "count": 20},
            "tells fills late": lambda: {"kind": "late_fills", "seconds": 3, "count": 20},
            "leaves depth out": lambda: {"kind": "depth_gap", "count": 3},
        }  # fmt: skip

    async def _fault(self, name: str) -> None:
        fault = self._faults()[name]()
        told = await self._site.control(self._session, "POST", "faults", {**fault, "message": name})
        self.struck[name] += told["struck"]
        self._note(name, f"{fault.get('path', '')} {told['struck'] or ''}".strip())

    async def _counts(self) -> dict[str, int]:
        """How often each kind struck, by what was seen and by the simulator's own count."""
        fired = self.struck.copy()
        for fault in await self._site.control(self._session, "GET", "faults"):
            fired[fault["message"]] += fault["fired"]
        return {kind: fired[kind] for kind in self.deck}


def _state(pid: int) -> str:
    """R, S, T, Z as /proc tells; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
