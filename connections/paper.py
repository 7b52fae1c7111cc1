"""Paper accounts: a connection's twin in mode ``paper``, without a key, so that nothing of it can reach an exchange.

All that hangs on a connection (orders, trades, positions, balances, limits, metrics) hangs on the twin, apart from the
real account's by its id. The engine fills its orders at the exchange's prices (trading/paper).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.tenancy import shard_of
from audit.record import record
from connections.gateways import KeyPermissions
from connections.models import Connection, Mode
from desproject.lib.bus import Wake, wake
from desproject.lib.errors import Conflict, InvalidInput
from desproject.lib.money import plain

# What its gateway says too.
PERMISSIONS = KeyPermissions(can_read=True, can_trade=True, can_withdraw=False, ip_restricted=True)
_NAME_LENGTH = 80
_MOST_ASSETS = 20
_ASSET = re.compile(r"[A-Z0-9]{1,16}")


class PaperAccountHasNoKey(Conflict):
    """There is nothing to test, replace or disable."""

    code = "PAPER_ACCOUNT"


class PaperAccountOpen(Conflict):
    """The connection has one already: deleted, it begins anew."""

    code = "PAPER_ACCOUNT_OPEN"


def require_key(connection: Connection) -> None:
    """Raises PaperAccountHasNoKey."""
    if connection.is_paper:
        raise PaperAccountHasNoKey("a paper account has no key")


def accounts_of(connection: Connection) -> Sequence[Connection]:
    """The living paper account of a connection, or nothing; inside a tenant scope."""
    return list(Connection.objects.filter(paper_of=connection, is_deleted=False))


def open_account(
    *, user: User, connection: Connection, balances: Mapping[str, Decimal] | None = None
) -> Connection:
    """A new paper account beside a connection. Raises PaperAccountHasNoKey, PaperAccountOpen, InvalidInput."""
    require_key(connection)
    start = _start() if balances is None else dict(balances)
    if len(start) > _MOST_ASSETS or not all(_ASSET.fullmatch(asset) for asset in start):
        raise InvalidInput("bad balances", fields={"balances": [f"at most {_MOST_ASSETS}, by assets like USDT"]})
    ending = " (paper)"
    row = Connection(
        id=uuid4(), user=user, name=connection.name[: _NAME_LENGTH - len(ending)] + ending,
        exchange=connection.exchange, mode=Mode.PAPER, paper_of=connection, paper_market=connection.mode,
        paper_start={asset: plain(amount) for asset, amount in start.items()}, key_version=0,
        permissions=asdict(PERMISSIONS),
    )  # fmt: skip
    if Connection.objects.filter(name=row.name, is_deleted=False).exclude(paper_of=connection).exists():
        row.name = f"{connection.name[:60]} {row.pk.hex[:8]}{ending}"
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            record(
                "connection.paper_account_opened", user_id=user.pk, resource_type="connection", resource_id=row.pk,
                details={"name": row.name, "paper_of": str(connection.pk), "balances": row.paper_start},
            )
            transaction.on_commit(lambda: wake(Wake(shard_of(user.pk), user.pk, "connection")))
    except IntegrityError:
        raise PaperAccountOpen("this connection has a paper account: delete that one to begin anew") from None
    return row


def ensure_account(user: User, connection: Connection) -> None:
    """Opens a connection's paper account unless it has one, or is one."""
    if not connection.is_paper and not accounts_of(connection):
        open_account(user=user, connection=connection)


def _start() -> dict[str, Decimal]:
    parts = (part.partition(":") for part in settings.CONFIG.paper_balances.split(","))
    return {asset: Decimal(amount) for asset, _, amount in parts}
