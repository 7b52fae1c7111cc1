"""Handing the rows of a former installation, which belong to its default user, to a real one (TEN-6).

A key's ciphertext is tied to its tenant: each is opened and sealed anew for the new owner. A hand-over may be killed at
any moment and run again: what is still the default user's is what is left to do.
"""

from collections.abc import Generator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError

from accounts.models import User
from accounts.tenancy import everyone
from audit.record import record
from connections.custody import open_credentials, seal_credentials
from connections.models import Connection, ConnectionStatus
from desproject.legacy.importing import default_user
from trading.models import StrategyInstance, Trade

TO_BE_TESTED = "imported: test this key before it trades"
# Those that hang on others first: a half-done hand-over leaves no connection whose strategies are another's.
_MODELS: Sequence[Any] = (Trade, StrategyInstance, Connection)


class NothingToHandOver(Exception):
    """There is no default user of this name, or nobody living has this e-mail; the text says which."""


def hand_over(name: str, email: str, *, batch_size: int) -> Generator[tuple[int, int], None, None]:
    """Makes everything the real user's, and removes the default one; tells how many rows of how many.

    Raises NothingToHandOver, CredentialsUnreadable.
    """
    source, target = default_user(name), User.objects.with_email(email).filter(is_active=True).first()
    if source is None:
        raise NothingToHandOver(f"nothing is left of an installation called {name}")
    if target is None or target == source:
        raise NothingToHandOver(f"nobody has the e-mail {email}")
    with everyone():
        total = sum(model.objects.filter(user=source).count() for model in _MODELS)
    done = 0
    yield done, total
    for model in _MODELS:
        while moved := _move(model, source, target, batch_size):
            done += moved
            yield done, total
    _remove(source, target, total, name)


def _move(model: Any, source: User, target: User, size: int) -> int:
    with everyone(), transaction.atomic():
        rows = list(model.objects.filter(user=source).order_by("pk")[:size])
        if model is Connection:
            for row in rows:
                _change_owner(row, target)
        else:
            model.objects.filter(pk__in=[row.pk for row in rows]).update(user=target)
    return len(rows)


def _change_owner(row: Connection, target: User) -> None:
    """Its key was never tried at the exchange by us: nothing trades on it before that was done."""
    key = open_credentials(row)
    row.user = target
    if Connection.objects.filter(user=target, name=row.name, is_deleted=False).exists():
        row.name = f"{row.name[:60]} {str(row.pk)[:8]}"
    seal_credentials(key, user_id=target.pk, connection_id=row.pk, exchange=row.exchange).store_in(row)
    row.credential_version += 1
    row.status, row.status_reason = ConnectionStatus.UNHEALTHY, TO_BE_TESTED
    row.save()
    record(
        "connection.handed_over", user_id=target.pk, resource_type="connection", resource_id=row.pk,
        details={"name": row.name, "exchange": row.exchange, "api_key_masked": row.api_key_masked},
    )  # fmt: skip


def _remove(source: User, target: User, rows: int, name: str) -> None:
    with everyone(), transaction.atomic():
        record(
            "legacy.handed_over", user_id=target.pk, resource_type="user", resource_id=target.pk,
            details={"name": name, "rows": rows},
        )  # fmt: skip
        try:
            source.delete()
        except ProtectedError:
            # Audit rows tell of this user, and they stay: so does its name, dead.
            User.objects.filter(pk=source.pk).update(is_deleted=True)
