"""A process's way to one bucket: requests wait here for their turn, the most urgent first, and for so long at most."""

import asyncio
import contextlib
import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from connections.budget.ledgers import Granted, Ledger, Told, Wanted
from connections.budget.limits import Bucket
from connections.budget.urgency import Urgency
from connections.gateways import Banned, OutOfBudget, Throttled
from desproject.lib.clock import Clock
from desproject.lib.metrics.registry import METRICS

# A bucket in use is asked so often, even for nothing: to learn of a shut exchange, and to have some weight ahead.
REFRESH_SECONDS = 0.2
_IN_USE_SECONDS = 5.0
# Who was refused is asked for again after this.
_PAUSE_SECONDS = 0.02
_A_TURN_MOST = 48
_A_TENANT_MOST = 8
# How long a request waits for its turn, unless its own deadline comes first; then nothing has happened.
PATIENCE = {Urgency.EXIT: 2.0, Urgency.ENTRY: 2.5, Urgency.READ: 4.0, Urgency.BACKGROUND: 8.0}
# A read that has waited so long is as urgent as an entry.
_READ_WAITS = 1.0
_WAIT = METRICS.recorder("exchange_budget.wait")
_EXIT_WAIT = METRICS.recorder("exchange_budget.exit_wait")


@dataclass(slots=True, eq=False)
class _Turn:
    wanted: Wanted
    since: float
    # When it was granted, by the monotonic clock.
    granted: "asyncio.Future[float]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Budget:
    """One bucket, for one event loop. ``name`` is for people and metrics: the exchange and its limit."""

    def __init__(self, name: str, bucket: Bucket, ledger: Ledger, clock: Clock) -> None:
        self.name = name
        self.bucket = bucket
        self._ledger = ledger
        self._clock = clock
        self._waiting: dict[_Turn, None] = {}
        self._ahead = 0
        self._ahead_until = self._used_at = 0.0
        self._shut_until = 0.0
        self._banned = False
        self._told = Told()
        self._kick = asyncio.Event()
        # Those who wait were refused a moment ago.
        self._is_pausing = False
        self._serving: asyncio.Task[None] | None = None
        self._figures: Counter[str] = Counter()
        self._shown = contextlib.ExitStack()
        self._shown.enter_context(METRICS.attached(f"exchange_budget.{name}", self._figures, self._gauges))

    def _gauges(self) -> dict[str, float]:
        return {"waiting": len(self._waiting)}

    async def take(self, cost: int, urgency: Urgency, tenant: str, patience: float | None = None) -> float:
        """Returns when a request of this cost may go, and until when, by the monotonic clock: what is written later
        would meet what others were granted since.

        Raises Throttled or Banned while the exchange is shut, OutOfBudget after ``patience`` seconds (else PATIENCE):
        nothing was sent.
        """
        self._require_open()
        now = self._clock.monotonic()
        self._used_at = now
        if self._ahead >= cost and now < self._ahead_until and not self._waiting:
            self._ahead -= cost
            self._count(cost)
            self._keep_serving()
            return now + self.bucket.fresh
        turn = _Turn(Wanted(urgency, tenant, cost), now)
        granted_at = await self._wait(turn, PATIENCE[urgency] if patience is None else patience)
        self._count(cost)
        waited = self._clock.monotonic() - now
        (_EXIT_WAIT if urgency is Urgency.EXIT else _WAIT).record(waited)
        return granted_at + self.bucket.fresh

    async def _wait(self, turn: _Turn, patience: float) -> float:
        self._waiting[turn] = None
        if turn.wanted.urgency is Urgency.EXIT or not self._is_pausing:
            self._kick.set()
        self._keep_serving()
        try:
            async with asyncio.timeout(max(patience, 0)):
                return await turn.granted
        except TimeoutError:
            self._figures["refused"] += 1
            raise OutOfBudget(
                "too much is asked of this exchange at the moment: nothing was sent, try again shortly",
                retry_after=PATIENCE[turn.wanted.urgency],
            ) from None
        finally:
            self._waiting.pop(turn, None)

    async def shut(self, seconds: float, *, banned: bool = False) -> None:
        """The exchange wants nothing for so long: no process of this address sends anything."""
        self._close(seconds, banned=banned)
        await self._ledger.shut(seconds, banned=banned)

    def heard(self, left: float, window_seconds: float) -> None:
        """The exchange said how much is left of its own limit, until its window ends. Where that is less than our
        bucket holds, others use the address too, or Redis was emptied: what the exchange says counts."""
        room = left - self.bucket.reserved
        self._told.room = room if self._told.room is None else min(room, self._told.room)
        if room <= 0:
            self._told.exits_only = max(self._told.exits_only, window_seconds)
            self._ahead = 0

    def missed(self) -> None:
        """What was granted was not sent in time."""
        self._figures["stale"] += 1

    async def aclose(self) -> None:
        """Ends what waits: nothing of it was sent."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        self._shown.close()

    # Serving.

    @property
    def _is_serving(self) -> bool:
        return self._serving is not None and not self._serving.done()

    def _keep_serving(self) -> None:
        if not self._is_serving:
            self._serving = asyncio.create_task(self._serve(), name=f"budget-{self.name}")

    async def _serve(self) -> None:
        """Asks for all that wait, again and again. Where weight is had ahead, until nobody used any for a while."""
        lingers = _IN_USE_SECONDS if self.bucket.ahead else 0.0
        while self._waiting or self._clock.monotonic() - self._used_at < lingers:
            self._kick.clear()
            turns = self._next_turns()
            told, self._told = self._told, Told()
            told.given_back, self._ahead = self._ahead, 0
            answer = await self._ledger.ask(list(turns.values()), told)
            self._take_over(list(turns), answer)
            self._is_pausing = not any(answer.requests) and bool(self._waiting)
            if self._is_pausing or not self._waiting:
                await self._rest(_PAUSE_SECONDS if self._is_pausing else min(REFRESH_SECONDS, lingers))
            self._is_pausing = False
            await asyncio.sleep(0)  # a ledger of this process's own never waits: those who were served must get on

    async def _rest(self, seconds: float) -> None:
        """Until somebody comes who needn't wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._kick.wait()

    def _asked_as(self, turn: _Turn) -> Wanted:
        """A read that has waited long is as urgent as others' entries: nobody's flood of orders shuts it out."""
        wanted = turn.wanted
        is_old = self._clock.monotonic() - turn.since > _READ_WAITS
        return wanted._replace(urgency=Urgency.ENTRY) if is_old and wanted.urgency is Urgency.READ else wanted

    def _next_turns(self) -> dict[_Turn, Wanted]:
        """And as what each is asked for. Exits first; of each tenant the first few, so that the ledger can choose
        between tenants."""
        for turn in [each for each in self._waiting if each.granted.done()]:
            del self._waiting[turn]  # whoever waited for it gave up, or was told that the exchange is shut
        found: dict[_Turn, Wanted] = {}
        tenants: dict[tuple[Urgency, str], int] = defaultdict(int)
        wanted = {turn: self._asked_as(turn) for turn in self._waiting}
        # A tenant's own entries go before its old reads. Else as they came: sorting is stable.
        for turn in sorted(wanted, key=lambda turn: (wanted[turn].urgency, turn.wanted.urgency)):
            urgency, tenant, _ = wanted[turn]
            tenants[urgency, tenant] += 1
            if urgency is Urgency.EXIT or tenants[urgency, tenant] <= _A_TENANT_MOST:
                found[turn] = wanted[turn]
        return dict(itertools.islice(found.items(), _A_TURN_MOST))

    def _take_over(self, turns: list[_Turn], answer: Granted) -> None:
        if answer.shut_seconds > 0:
            self._close(answer.shut_seconds, banned=answer.banned)
            return
        now = self._clock.monotonic()
        for turn, granted in zip(turns, answer.requests, strict=True):
            if granted and not turn.granted.done():
                self._waiting.pop(turn, None)
                turn.granted.set_result(now)
        self._ahead, self._ahead_until = answer.ahead, now + 2 * REFRESH_SECONDS

    # Shut.

    def _close(self, seconds: float, *, banned: bool) -> None:
        until = self._clock.monotonic() + seconds
        self._ahead = 0
        if until > self._shut_until:
            self._shut_until, self._banned = until, banned
        for turn in list(self._waiting):
            if not turn.granted.done():
                turn.granted.set_exception(self._shut_error())

    def _require_open(self) -> None:
        if self._shut_until and self._shut_until <= self._clock.monotonic():
            self._shut_until = 0.0
        if self._shut_until:
            self._figures["refused"] += 1
            raise self._shut_error()

    def _shut_error(self) -> Throttled:
        kind = Banned if self._banned else Throttled
        left = self._shut_until - self._clock.monotonic()
        return kind("the exchange wants no requests from us for a while", retry_after=left)

    def _count(self, cost: int) -> None:
        self._figures["used"] += cost
        self._figures["requests"] += 1
