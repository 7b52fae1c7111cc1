"""The merged metrics, ready to be sent: a request finds them in memory.

While somebody asks, a thread merges them anew twice a second; nobody asking, nothing is merged.
"""

import threading
from collections.abc import Sequence

import msgspec
import redis
import structlog

from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.metrics import merging, publishing
from desproject.lib.metrics.registry import Snapshot

log = structlog.get_logger(__name__)

MAX_AGE_SECONDS = 1.0
_PERIOD_SECONDS = 0.5
# So long after the last question the thread ends.
_IDLE_SECONDS = 10.0


class Documents(msgspec.Struct, frozen=True):
    """One moment's figures, as JSON and as they were merged from. ``merged_at`` is monotonic seconds."""

    merged_at: float
    overview: bytes
    latency: bytes
    snapshots: Sequence[Snapshot]


class Board:
    """The newest documents; none that is handed out is older than MAX_AGE_SECONDS."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: Documents | None = None
        self._asked_at = 0.0
        self._client: redis.Redis | None = None
        self._worker: threading.Thread | None = None

    def documents(self) -> Documents:
        """From memory, while others asked lately; else merged now. Raises redis.RedisError."""
        self._asked_at = self._clock.monotonic()
        if (newest := self._fresh()) is not None:
            return newest
        with self._lock:
            newest = self._fresh() or self._merge()
            if self._worker is None:
                self._worker = threading.Thread(target=self._keep_fresh, name="metrics-board", daemon=True)
                self._worker.start()
        return newest

    def _fresh(self) -> Documents | None:
        newest = self._newest
        if newest is None or self._clock.monotonic() - newest.merged_at > MAX_AGE_SECONDS:
            return None
        return newest

    def _merge(self) -> Documents:
        started = self._clock.monotonic()
        if self._client is None:
            self._client = publishing.connect()
        snapshots, now = publishing.snapshots(self._client), self._clock.now()
        overview, latency = merging.overview(snapshots, now), merging.latencies(snapshots, now)
        encode = msgspec.json.encode
        self._newest = Documents(started, encode(overview), encode(latency), snapshots)
        return self._newest

    def _keep_fresh(self) -> None:
        pause = threading.Event()
        while not pause.wait(_PERIOD_SECONDS):
            with self._lock:
                if self._clock.monotonic() - self._asked_at > _IDLE_SECONDS:
                    self._worker = None
                    return
                try:
                    self._merge()
                except (redis.RedisError, OSError) as error:
                    log.warning("metrics_not_merged", error=type(error).__name__)


BOARD = Board()
