"""Binding, changing and removing exchange accounts. Each change is one transaction with its audit row.

A key is tested at the exchange first, outside of any transaction; one that doesn't work, or can withdraw, is never
stored. Every function works inside the user's tenant scope, which the caller has opened.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import asdict

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.models import User
from accounts.tenancy import shard_of
from audit.record import record
from connections import custody, key_destruction, paper, usage
from connections.exchanges import venue
from connections.gateways import Credentials, KeyPermissions, KeyRefused, Unreachable
from connections.models import Connection, ConnectionStatus, Mode
from connections.pool import lent_gateway
from desproject.lib.bus import Wake, wake
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import Conflict, InvalidInput, NotFound

# Seconds that the exchange has to answer while somebody waits for it.
_PATIENCE = 15
_HEALTH_FIELDS = ("status", "status_reason", "permissions", "failed_checks", "last_checked_at")


class KeyCanWithdraw(InvalidInput):
    """A key that can take money away from the exchange is never stored (KEY-7)."""

    code = "KEY_CAN_WITHDRAW"


class KeyCannotTrade(InvalidInput):
    """The key is valid but may not read the account or place orders."""

    code = "KEY_CANNOT_TRADE"


class KeyDisabled(Conflict):
    """The key was disabled, for example because it leaked: only another one makes the connection work again."""

    code = "KEY_DISABLED"


class NameTaken(Conflict):
    """Another connection of the user has this name."""

    code = "NAME_TAKEN"


def create_connection(
    *, user: User, name: str, exchange: str, mode: str, credentials: Credentials
) -> Connection:
    """Tests the key, then stores it sealed.

    Raises InvalidInput, KeyRefused, KeyCanWithdraw, KeyCannotTrade, NameTaken, GatewayError; nothing is stored then.
    """
    check_mode(exchange, mode)
    _require_free_name(name)
    permissions = accepted_permissions(exchange, mode, credentials)
    row = Connection(id=uuid.uuid4(), user=user, name=name, exchange=exchange, mode=mode)
    _seal(row, credentials)
    _healthy(row, permissions)
    with _named(), transaction.atomic():
        row.save(force_insert=True)
        _record(user, row, "connection.created")
        _wake_after_commit(user)
    return row


def change_connection(
    *, user: User, connection: Connection, name: str | None, credentials: Credentials | None
) -> Connection:
    """Renames a connection, replaces its key, or both; the new key is tested like a first one.

    Raises what ``create_connection`` raises, and NotFound for one that was deleted meanwhile.
    """
    if credentials is not None:
        paper.require_key(connection)
    fields = ["updated_at"]
    if name is not None:
        connection.name = name
        fields += ["name"]
    if credentials is not None:
        permissions = accepted_permissions(connection.exchange, connection.mode, credentials)
        _seal(connection, credentials)
        _healthy(connection, permissions)
        # Counted in the database: of two changes at once, neither may look like the other to a gateway.
        connection.credential_version = F("credential_version") + 1
        fields += [
            "api_key_sealed", "api_secret_sealed", "api_key_masked", "key_version", "key_set_at",
            "credential_version", *_HEALTH_FIELDS,
        ]
    with _named(), transaction.atomic():
        _require_living(connection)
        connection.save(update_fields=fields)
        _record(user, connection, "connection.key_replaced" if credentials else "connection.changed")
        _wake_after_commit(user)
    if credentials is not None:
        connection.refresh_from_db(fields=["credential_version"])
    return connection


def disable_key(*, user: User, connection: Connection, reason: str) -> None:
    """From now on the key serves for nothing but cancelling: no stream, no entry, until it is replaced."""
    with transaction.atomic():
        connection.status, connection.status_reason = ConnectionStatus.DISABLED, reason[:200]
        connection.save(update_fields=["status", "status_reason", "updated_at"])
        _record(user, connection, "connection.key_disabled")
        _wake_after_commit(user)


def delete_connection(*, user: User, connection: Connection) -> None:
    """Takes a connection away; its orders and trades stay, its key doesn't. Raises ConnectionInUse."""
    with transaction.atomic():
        # The engine holds the row shared while it commits an order: none can slip in between the check and the end.
        User.objects.select_for_update().get(pk=user.pk)
        for row in (*paper.accounts_of(connection), connection):
            usage.require_unused(row.pk)
            key_destruction.end(row)
            row.save(update_fields=key_destruction.ENDED_FIELDS)
            _record(user, row, "connection.deleted")
        _wake_after_commit(user)


def test_connection(*, user: User, connection: Connection) -> Connection:
    """Asks the exchange what the stored key may do and keeps the answer.

    A refused key makes the connection unhealthy; that is an answer, no error. Raises KeyDisabled, and GatewayError
    when the exchange can't be asked.
    """
    paper.require_key(connection)
    if connection.status == ConnectionStatus.DISABLED:
        raise KeyDisabled("this key is disabled: replace it by a new one")
    credentials = custody.read_credentials(connection, "test")
    try:
        permissions = accepted_permissions(connection.exchange, connection.mode, credentials)
    except (KeyRefused, KeyCanWithdraw, KeyCannotTrade) as error:
        connection.status, connection.status_reason = ConnectionStatus.UNHEALTHY, error.message[:200]
        connection.last_checked_at = SYSTEM_CLOCK.now()
    else:
        _healthy(connection, permissions)
    with transaction.atomic():
        # What was found out about a key that was replaced meanwhile says nothing about the new one; and one that was
        # disabled meanwhile stays so.
        tested = Connection.objects.filter(
            pk=connection.pk, credential_version=connection.credential_version
        ).exclude(status=ConnectionStatus.DISABLED)
        tested.update(**{name: getattr(connection, name) for name in _HEALTH_FIELDS})
        _record(user, connection, "connection.tested")
        _wake_after_commit(user)
    return connection


def check_mode(exchange: str, mode: str) -> None:
    """Raises InvalidInput for an exchange that isn't known, or a mode that it or this installation doesn't have."""
    offered = venue(exchange).modes
    if mode == Mode.PAPER:
        reason = "A paper account belongs to a connection: it is made when a strategy of that first trades on paper."
        raise InvalidInput("a paper account is at no exchange", fields={"mode": [reason]})
    if mode not in offered:
        raise InvalidInput("no such mode", fields={"mode": [f"Must be one of: {', '.join(offered)}."]})
    if mode == Mode.SIMULATOR and not settings.CONFIG.simulator_url:
        raise InvalidInput("no simulator", fields={"mode": ["This installation has no simulator."]})


def accepted_permissions(exchange: str, mode: str, credentials: Credentials) -> KeyPermissions:
    """What the key may do. Raises KeyRefused, KeyCanWithdraw, KeyCannotTrade, GatewayError."""
    permissions = ask_exchange(exchange, mode, credentials)
    require_safe(permissions)
    return permissions


def require_safe(permissions: KeyPermissions) -> None:
    """Raises KeyCanWithdraw, KeyCannotTrade: a key that may do too much, or too little (KEY-7)."""
    if permissions.can_withdraw:
        raise KeyCanWithdraw(
            "this key can withdraw: make one that can only read and trade",
            fields={"api_key": ["This key can withdraw; DES only takes keys that can't."]},
        )
    if not (permissions.can_read and permissions.can_trade):
        raise KeyCannotTrade(
            "this key can't trade: allow it to read the account and to place orders",
            fields={"api_key": ["This key may not read the account and place orders."]},
        )


def ask_exchange(exchange: str, mode: str, credentials: Credentials) -> KeyPermissions:
    """Asks the exchange what a key may do, within a bounded time. Raises KeyRefused, GatewayError."""
    return async_to_sync(_ask)(exchange, mode, credentials)


async def _ask(exchange: str, mode: str, credentials: Credentials) -> KeyPermissions:
    try:
        async with asyncio.timeout(_PATIENCE), lent_gateway(exchange, mode, credentials) as gateway:
            return await gateway.permissions()
    except TimeoutError:
        raise Unreachable("the exchange doesn't answer") from None


def _seal(row: Connection, credentials: Credentials) -> None:
    sealed = custody.seal_credentials(
        credentials, user_id=row.user_id, connection_id=row.pk, exchange=row.exchange
    )
    sealed.store_in(row)
    row.key_set_at = SYSTEM_CLOCK.now()


def _healthy(row: Connection, permissions: KeyPermissions) -> None:
    row.status, row.status_reason, row.failed_checks = ConnectionStatus.OK, "", 0
    row.permissions = asdict(permissions)
    row.last_checked_at = SYSTEM_CLOCK.now()


def _require_living(connection: Connection) -> None:
    """While the exchange was asked it may have been deleted, and its key destroyed: none is stored there any more."""
    if not Connection.objects.select_for_update().filter(pk=connection.pk, is_deleted=False).exists():
        raise NotFound("no such connection")


def _require_free_name(name: str) -> None:
    """Before the exchange is asked; the database has the last word."""
    if Connection.objects.filter(name=name, is_deleted=False).exists():
        raise _name_taken()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise _name_taken() from None


def _name_taken() -> NameTaken:
    return NameTaken("another connection has this name", fields={"name": ["Another connection has this name."]})


def _record(user: User, row: Connection, event: str) -> None:
    record(
        event, user_id=user.pk, resource_type="connection", resource_id=row.pk,
        details={"name": row.name, "exchange": row.exchange, "mode": row.mode, "api_key_masked": row.api_key_masked},
    )


def _wake_after_commit(user: User) -> None:
    transaction.on_commit(lambda: wake(Wake(shard_of(user.pk), user.pk, "connection")))
