"""Connections (exchange accounts bound by a user), and the leases by which processes share out work."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from accounts.tenancy import TenantModel
from desproject.lib.clock import SYSTEM_CLOCK

# Past that its owner is reminded to make a new key.
OLD_KEY_DAYS = 30


class Mode(models.TextChoices):
    LIVE = "live"
    TESTNET = "testnet"
    PAPER = "paper"
    SIMULATOR = "simulator"


class ConnectionStatus(models.TextChoices):
    OK = "ok"
    UNHEALTHY = "unhealthy"
    DISABLED = "disabled"


class Connection(TenantModel):
    """An exchange account that a user bound. Keys are stored sealed only (connections/custody.py)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    exchange = models.CharField(max_length=32)
    mode = models.CharField(max_length=16, choices=Mode)
    api_key_sealed = models.TextField(editable=False)
    api_secret_sealed = models.TextField(editable=False)
    api_key_masked = models.CharField(max_length=40, editable=False)
    key_version = models.PositiveIntegerField(editable=False)
    # When the present key was stored: its age.
    key_set_at = models.DateTimeField(default=timezone.now, editable=False)
    # Raised with every change of key or secret: gateways built on an older one are closed.
    credential_version = models.PositiveIntegerField(default=1, editable=False)
    status = models.CharField(max_length=16, choices=ConnectionStatus, default=ConnectionStatus.OK)
    status_reason = models.CharField(max_length=200, blank=True)
    permissions = models.JSONField(default=dict)
    last_checked_at = models.DateTimeField(null=True, blank=True)
    # Health checks in a row that found something wrong.
    failed_checks = models.PositiveSmallIntegerField(default=0, editable=False)
    # Of a paper account: the connection that it stands in for, that one's mode, and what it began with (asset: amount).
    paper_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    paper_market = models.CharField(max_length=16, blank=True, editable=False)
    paper_start = models.JSONField(default=dict, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    is_deleted = models.BooleanField(default=False)

    class Meta:
        db_table = "connections"
        indexes: ClassVar = [models.Index(fields=["user", "created_at"], name="connections_user_created")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "name"], condition=models.Q(is_deleted=False), name="connections_user_name"
            ),
            models.UniqueConstraint(
                fields=["paper_of"], condition=models.Q(is_deleted=False), name="connections_one_paper_account"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Connection {self.pk} {self.exchange}/{self.mode}>"

    @property
    def key_age_days(self) -> int:
        """Whole days since the present key was stored."""
        return (SYSTEM_CLOCK.now() - self.key_set_at).days

    @property
    def is_key_old(self) -> bool:
        """Whether its owner should make a new one (KEY-7)."""
        return not self.is_paper and self.key_age_days > OLD_KEY_DAYS

    @property
    def key_hint(self) -> str:
        """What would make the present key safer; empty where nothing is known that would."""
        if self.permissions.get("ip_restricted", True):
            return ""
        return "Works from any address: at the exchange, restrict it to the addresses of this installation."

    @property
    def feed(self) -> str:
        """The market data feed that this account trades against, for example ``binance_spot:simulator``."""
        return f"{self.exchange}:{self.market}"

    @property
    def is_paper(self) -> bool:
        """Whether its orders never leave DES (ADR 25)."""
        return bool(self.mode == Mode.PAPER)

    @property
    def market(self) -> str:
        """The mode of the exchange whose prices it trades at."""
        return str(self.paper_market or Mode.LIVE) if self.is_paper else str(self.mode)


class Lease(models.Model):
    """Exclusive ownership of one piece of work (a shard, a stream) by one process, for a while.

    ``epoch`` grows with every change of owner: what an earlier owner committed can be told apart and refused.
    """

    kind = models.CharField(max_length=16)
    key = models.CharField(max_length=64)
    owner = models.UUIDField(null=True)
    epoch = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "leases"
        constraints: ClassVar = [models.UniqueConstraint(fields=["kind", "key"], name="leases_kind_key")]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Process(models.Model):
    """A running process that takes part in sharing out work; it is alive while ``seen_at`` is fresh."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    draining = models.BooleanField(default=False)
    # Free figures for operators: ticks, decisions, queue depth, …
    figures = models.JSONField(default=dict)

    class Meta:
        db_table = "processes"
        verbose_name_plural = "processes"

    def __str__(self) -> str:
        return f"{self.kind} {self.host}:{self.pid}"


class KeyHolder(models.Model):
    """A running process that seals and opens keys: which master keys it holds, as their fingerprints by version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    role = models.CharField(max_length=16)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    fingerprints = models.JSONField()
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "key_holders"

    def __str__(self) -> str:
        return f"{self.role} {self.host}:{self.pid}"
