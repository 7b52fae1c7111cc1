"""What an installation needs to trade, each part asked by name (OBS-3)."""

import contextlib

import redis
from django.core.cache import cache
from django.db import Error, connection
from django_q.conf import Conf
from django_q.signing import BadSignature, SignedPackage
from django_q.status import Stat

from accounts.tenancy import SHARDS
from connections.exchanges import venues
from connections.leases import figures_of, living
from connections.models import Lease, Process
from connections.watch_only import watched_feeds
from desproject.lib.bus import sync_client
from desproject.lib.clock import SYSTEM_CLOCK

_SHARD, _STREAM = "shard", "stream"


def checks() -> dict[str, str]:
    """Each part's name with "ok" (and what isn't as usual) or what is wrong, without details that help an attacker."""
    found = {"database": _database(), "cache": _cache()}
    if found["database"] == "ok":
        found |= {"engine": _engine(), "streams": _streams()}
    else:
        found |= dict.fromkeys(("engine", "streams"), "not known: the database is away")
    found["exchanges"] = _exchanges() if found["cache"] == "ok" else "not known: the cache is away"
    both = found["database"] == found["cache"] == "ok"
    found["tasks"] = _tasks() if both else "not known: the database or the cache is away"
    return found


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return "doesn't answer"
    return "ok"


def _cache() -> str:
    try:
        cache.set("health", 1, 10)
    except redis.RedisError:
        return "doesn't answer"
    return "ok"


def _engine() -> str:
    now = SYSTEM_CLOCK.now()
    if not living(_SHARD, now):
        return "no engine runs"
    leased = Lease.objects.filter(kind=_SHARD, owner__isnull=False, expires_at__gt=now).count()
    return "ok" if leased == SHARDS else f"{SHARDS - leased} of {SHARDS} shards wait for an engine"


def _streams() -> str:
    """Feeds that are polled by REST for want of a socket are told of; trading goes on with them."""
    if not living(_STREAM, SYSTEM_CLOCK.now()):
        return "no stream process runs"
    polled = sum(figures.get("feeds_polled", 0) for figures in figures_of(_STREAM, SYSTEM_CLOCK.now()))
    return f"ok ({polled} polled by REST, the stream can't be had)" if polled else "ok"


def _exchanges() -> str:
    """Nothing is entered at those that are only watched; everything else goes on. Which versions of their APIs are used
    is told where it isn't the shipped ones alone, as this machine's folder says."""
    try:
        watched = watched_feeds(sync_client())
    except redis.RedisError:
        return "not known: the cache is away"
    unusual = [f"{', '.join(watched)} only watched: answers aren't as documented"] if watched else []
    unusual += [told for slug, venue in venues().items() if (told := f"{slug} {venue.versions}".strip()) != slug]
    return f"ok ({'; '.join(unusual)})" if unusual else "ok"


def _tasks() -> str:
    """Clusters that hold an engine don't count: those are the trading ones, and a Stat doesn't tell its name."""
    try:
        clusters = _clusters()
    except redis.RedisError:
        return "not known: the cache is away"
    engines = set(Process.objects.filter(kind=_SHARD).values_list("pid", flat=True))
    return "ok" if any(engines.isdisjoint(stat.workers) for stat in clusters) else "no task process runs"


def _clusters() -> list[Stat]:
    """Every cluster that gave a sign of life in the last seconds. django-q's own way asks Redis for KEYS, which a
    production Redis (ours too) doesn't allow."""
    client, found = sync_client(), []
    for key in client.scan_iter(match=f"{Conf.Q_STAT}:*", count=1000):
        pack = client.get(key)
        if pack is not None:
            with contextlib.suppress(BadSignature):
                found.append(SignedPackage.loads(pack))
    return found
