"""Sharing out work between processes by leases (rows that expire).

Each kind of work ("shard", "stream") has a set of keys. Every living process of the kind holds its fair share; a dead
one's leases expire and are taken over; when processes come, those who hold too much let go. A change of owner raises
the lease's epoch, by which commits of an earlier owner are refused (fencing).

Times: ``expires_at`` in the row is wall clock, for others to see that it ended. The holder itself trusts only
``valid_until``, its monotonic clock, counted from *before* the query that renewed it.
"""

import asyncio
import contextlib
import math
import os
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import F, Q

from connections.models import Lease, Process
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)

RunInDb = Callable[..., Awaitable[Any]]
# Leases whose work ends within so long of each other are given back together.
_GATHER_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease of ours. Nothing may be done in its name past ``valid_until`` (monotonic seconds)."""

    key: str
    epoch: int
    valid_until: float


class LeaseKeeper:
    """Gets and keeps this process's share of the leases of one kind.

    ``keys`` names all work of the kind at present. ``on_gain`` is awaited when a lease is newly held: it must be quick.
    ``on_given_back`` is awaited when others may take some of ours.
    ``on_loss`` runs on its own when one is no longer held (expired under us, or let go): however long it takes, the
    other leases are renewed; until it has ended the key isn't given back, nor gained again. ``figures`` is written to
    the process's row.
    """

    def __init__(
        self,
        kind: str,
        keys: Callable[[], Collection[str]],
        run_in_db: RunInDb,
        *,
        on_gain: Callable[[HeldLease], Awaitable[None]],
        on_loss: Callable[[str], Awaitable[None]],
        on_given_back: Callable[[], Awaitable[None]] | None = None,
        figures: Callable[[], dict[str, Any]] = dict,
        lease_seconds: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.kind = kind
        self.owner = uuid.uuid4()
        self.held: dict[str, HeldLease] = {}
        self.draining = asyncio.Event()
        self._keys = keys
        self._run_in_db = run_in_db
        self._on_gain = on_gain
        self._on_loss = on_loss
        self._on_given_back = on_given_back
        self._figures = figures
        self._seconds = lease_seconds or settings.CONFIG.lease_seconds
        self._clock = clock
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Renews, gains and lets go until the process is told to drain; then hands everything over and returns."""
        while not self.draining.is_set():
            self._wanted.clear()
            await self._round()
            self._drop_expired()
            await self._pause()
        await self.release_all()

    def look(self) -> None:
        """Somebody let go of leases: renews and gains now, and not only when it is time."""
        self._wanted.set()

    async def _pause(self) -> None:
        """Until it is time to renew, or there is a reason to look earlier."""
        reasons = [asyncio.create_task(event.wait()) for event in (self.draining, self._wanted)]
        await asyncio.wait(reasons, timeout=self._seconds / 4, return_when=asyncio.FIRST_COMPLETED)
        for reason in reasons:
            reason.cancel()
        await asyncio.gather(*reasons, return_exceptions=True)

    def still_valid(self, key: str, epoch: int) -> bool:
        """Whether we may act now for this key in the name of this epoch."""
        lease = self.held.get(key)
        return lease is not None and lease.epoch == epoch and self._clock.monotonic() < lease.valid_until

    async def release_all(self) -> None:
        """Stops the work, and gives each lease back when its own has ended: others need wait neither for the leases'
        end nor for work that takes longer, a send that isn't answered for example."""
        ours = {*self.held, *self._leaving}
        self._lose(list(self.held))
        await self._hand_back(self._mark_draining)
        while self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=_GATHER_SECONDS)
            if free := ours - self._leaving.keys():
                ours -= free
                await self._hand_back(partial(self._give_back, free))
        await self._hand_back(self._forget)

    async def _hand_back(self, step: Callable[[], None]) -> None:
        """What comes to nothing here comes by itself: the leases end."""
        try:
            await self._run_in_db(step)
        except (DatabaseError, InterfaceError) as error:
            log.warning("leases_not_released", kind=self.kind, error=str(error))
        else:
            await self._say_given_back()

    async def _round(self) -> None:
        started = self._clock.monotonic()
        try:
            granted, surplus, draining = await self._run_in_db(self._renew, self._figures())
        except (DatabaseError, InterfaceError) as error:
            log.warning("leases_not_renewed", kind=self.kind, error=str(error))
            return
        if draining:
            self.draining.set()
        valid_until = started + self._seconds
        self._lose([key for key, lease in self.held.items() if granted.get(key) != lease.epoch])
        await self._hand_over(surplus)
        for key, epoch in granted.items():
            if key in self._leaving:  # ours again, while its earlier work still ends
                continue
            lease = HeldLease(key, epoch, valid_until)
            is_new = key not in self.held
            self.held[key] = lease
            if is_new:
                await self._on_gain(lease)

    async def _hand_over(self, surplus: Collection[str]) -> None:
        """Gives back leases beyond our share whose work has ended; the next round those whose work takes longer."""
        if not surplus:
            return
        ending = [self._leaving[key] for key in surplus if key in self._leaving]
        if ending:
            await asyncio.wait(ending, timeout=self._seconds / 8)
        free = [key for key in surplus if key not in self._leaving]
        log.info("leases_handed_over", kind=self.kind, count=len(free), later=len(surplus) - len(free))
        with contextlib.suppress(DatabaseError, InterfaceError):  # else they end by themselves
            await self._run_in_db(self._give_back, free)
            await self._say_given_back()

    async def _say_given_back(self) -> None:
        if self._on_given_back is not None:
            await self._on_given_back()

    def _drop_expired(self) -> None:
        now = self._clock.monotonic()
        expired = [key for key, lease in self.held.items() if now >= lease.valid_until]
        if expired:
            log.warning("leases_expired", kind=self.kind, count=len(expired))
        self._lose(expired)

    def _lose(self, keys: Collection[str]) -> None:
        """From now on nothing may be sent for the keys; their work is ended side by side."""
        for key in keys:
            if self.held.pop(key, None) is not None:
                self._leaving[key] = asyncio.create_task(self._leave(key), name=f"leave-{self.kind}-{key}")

    async def _leave(self, key: str) -> None:
        try:
            await self._on_loss(key)
        except Exception:  # the others go on; what is left of this one's work may do nothing any more
            log.exception("lease_not_left_cleanly", kind=self.kind, key=key)
        finally:
            del self._leaving[key]

    # Below: in a database thread.

    def _renew(self, figures: dict[str, Any]) -> tuple[dict[str, int], list[str], bool]:
        """Renews ours and takes free ones up to our share. Returns key → epoch of those, the keys beyond our share,
        and whether an operator wants this process to drain."""
        now = self._clock.now()
        draining = self._sign_of_life(now, figures)
        wanted = set(self._keys())
        self._create_missing(wanted, now)
        share = self._share(len(wanted), now)
        ours = Lease.objects.filter(kind=self.kind, owner=self.owner, key__in=wanted, expires_at__gt=now)
        mine = sorted(ours.values_list("key", flat=True))
        keep, surplus = mine[:share], mine[share:]
        expires_at = now + timedelta(seconds=self._seconds)
        ours.filter(key__in=keep).update(expires_at=expires_at)
        self._take(wanted, share - len(keep), now, expires_at)
        return dict(ours.exclude(key__in=surplus).values_list("key", "epoch")), surplus, draining

    def _sign_of_life(self, now: datetime, figures: dict[str, Any]) -> bool:
        seen = Process.objects.filter(pk=self.owner)
        if not seen.update(seen_at=now, figures=figures):
            Process.objects.create(
                id=self.owner,
                kind=self.kind,
                host=settings.CONFIG.host,
                pid=os.getpid(),
                started_at=now,
                seen_at=now,
                figures=figures,
            )
        Process.objects.filter(seen_at__lt=now - timedelta(days=1)).delete()
        return seen.filter(draining=True).exists() or is_draining(settings.CONFIG.host, now)

    def _share(self, keys: int, now: datetime) -> int:
        return math.ceil(keys / max(living(self.kind, now), 1))

    def _create_missing(self, wanted: set[str], now: datetime) -> None:
        known = set(Lease.objects.filter(kind=self.kind, key__in=wanted).values_list("key", flat=True))
        Lease.objects.bulk_create(
            [Lease(kind=self.kind, key=key, expires_at=now) for key in sorted(wanted - known)], ignore_conflicts=True
        )

    def _take(self, wanted: set[str], free_hands: int, now: datetime, expires_at: datetime) -> None:
        if free_hands <= 0:
            return
        overdue = now - timedelta(seconds=self._seconds)
        if Lease.objects.filter(kind=self.kind, key__in=wanted, expires_at__lte=overdue).exists():
            _end_frozen(self._seconds)
        free = Q(owner__isnull=True) | Q(expires_at__lte=now)
        with transaction.atomic():
            rows = Lease.objects.filter(free, kind=self.kind, key__in=wanted).order_by("key")
            if connection.features.has_select_for_update_skip_locked:
                rows = rows.select_for_update(skip_locked=True)
            keys = list(rows.values_list("key", flat=True)[:free_hands])
            Lease.objects.filter(free, kind=self.kind, key__in=keys).update(
                owner=self.owner, epoch=F("epoch") + 1, expires_at=expires_at
            )

    def _give_back(self, keys: Collection[str]) -> None:
        Lease.objects.filter(kind=self.kind, owner=self.owner, key__in=keys).update(
            owner=None, expires_at=self._clock.now()
        )

    def _mark_draining(self) -> None:
        """The others' shares grow from now on."""
        Process.objects.filter(pk=self.owner).update(draining=True)

    def _forget(self) -> None:
        now = self._clock.now()
        Lease.objects.filter(kind=self.kind, owner=self.owner).update(owner=None, expires_at=now)
        Process.objects.filter(pk=self.owner).delete()


# A process that froze inside a transaction holds its lease rows locked, so that nobody could take them over. Inside a
# pipeline PostgreSQL doesn't call such a session idle, and its own limit for idle transactions doesn't end it.
_END_FROZEN = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
  AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => %s)
  AND pid IN (SELECT pid FROM pg_locks WHERE granted AND relation = 'leases'::regclass)
"""


def _end_frozen(seconds: float) -> None:
    """Ends the sessions that hold lease rows inside a transaction, and whose process has said nothing for so long."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(_END_FROZEN, [seconds])
        if ended := len(cursor.fetchall()):
            log.warning("frozen_sessions_ended", count=ended)


_DRAIN = "drain"
_DRAIN_SECONDS = 120


def request_drain(host: str) -> None:
    """Asks every engine and stream process of a host to hand over and end, and keeps new ones from starting there
    until the host's processes are stopped (two minutes at most)."""
    now = SYSTEM_CLOCK.now()
    Lease.objects.update_or_create(
        kind=_DRAIN, key=host, defaults={"expires_at": now + timedelta(seconds=_DRAIN_SECONDS)}
    )
    Process.objects.filter(host=host).update(draining=True)


def end_drain(host: str) -> None:
    """Lets engines start on the host again: said when its processes have ended, and before they start."""
    Lease.objects.filter(kind=_DRAIN, key=host).delete()


def is_draining(host: str, now: datetime) -> bool:
    """Whether the host was asked to drain."""
    return Lease.objects.filter(kind=_DRAIN, key=host, expires_at__gt=now).exists()


def living(kind: str, now: datetime) -> int:
    """How many processes of a kind give signs of life and take on work."""
    fresh = now - timedelta(seconds=settings.CONFIG.lease_seconds)
    return Process.objects.filter(kind=kind, draining=False, seen_at__gt=fresh).count()


def figures_of(kind: str, now: datetime) -> list[dict[str, Any]]:
    """What the living processes of a kind last told of themselves."""
    fresh = now - timedelta(seconds=settings.CONFIG.lease_seconds)
    return list(Process.objects.filter(kind=kind, seen_at__gt=fresh).values_list("figures", flat=True))
