"""Tenancy: who may be seen, and the wall that fails closed.

A *tenant* is a user. Code that reads or writes tenant-owned rows runs inside a scope, a set of tenants; outside of
one every query on such a table raises. System work asks for the unscoped view by name: `everyone()`.
"""

import contextlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django_scopes import ScopedManager, scope, scopes_disabled
from django_scopes.exceptions import ScopeError
from django_scopes.state import get_scope

SHARDS = 64

__all__ = ["SHARDS", "OutOfScope", "ScopeError", "TenantModel", "everyone", "shard_of", "tenant_scope"]


class OutOfScope(ScopeError):  # type: ignore[misc]  # django-scopes ships no types
    """A row of a tenant outside the current scope was about to be written."""


@contextlib.contextmanager
def tenant_scope(*tenants: UUID) -> Iterator[None]:
    """Makes exactly these tenants' rows visible and writable inside the block."""
    with scope(user=list(tenants)):
        yield


@contextlib.contextmanager
def everyone() -> Iterator[None]:
    """The unscoped view, for system jobs only: its uses are few and can be found by this name."""
    with scopes_disabled():
        yield


def shard_of(user_id: UUID) -> int:
    """The shard, 0 to SHARDS - 1, whose engine acts for this user."""
    return int.from_bytes(blake2b(user_id.bytes, digest_size=4).digest()) % SHARDS


def require_in_scope(user_ids: Iterable[UUID | None]) -> None:
    """Raises OutOfScope unless every one of these tenants is inside the current scope."""
    current = get_scope()
    if not current.get("_enabled", True):
        return
    allowed = set(current.get("user") or ())
    for user_id in user_ids:
        if user_id not in allowed:
            raise OutOfScope("a row of a tenant outside the current scope can't be written")


class TenantQuerySet(models.QuerySet[Any]):
    """Also checks what is written: reading is narrowed by the manager."""

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        rows = list(objs)
        require_in_scope(row.user_id for row in rows)
        return super().bulk_create(rows, *args, **kwargs)

    def bulk_update(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> int:
        rows = list(objs)
        require_in_scope(row.user_id for row in rows)
        return super().bulk_update(rows, *args, **kwargs)


class TenantModel(models.Model):
    """A row that belongs to exactly one tenant."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[Any] = ScopedManager(user="user", _manager_class=models.Manager.from_queryset(TenantQuerySet))

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        require_in_scope([self.user_id])
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        require_in_scope([self.user_id])
        return super().delete(*args, **kwargs)
