"""Taking in the rows of a former single-user installation, for a default user, their keys sealed on the way.

All state is in the rows: an imported row's id is computed from the source's, so an import may be killed at any moment
and run again. Keys are read back from the database, opened and compared before their batch commits.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import transaction

from accounts.models import User
from accounts.tenancy import everyone
from audit.record import record
from connections.custody import CredentialsUnreadable, open_credentials, seal_credentials
from connections.exchanges import venues
from connections.gateways import Credentials
from connections.models import Connection, ConnectionStatus, Mode
from desproject.legacy.source import Row, Source
from desproject.lib.money import ZERO, NotMoney, money
from trading.models import StrategyInstance, Trade

# What a former installation called an exchange.
_EXCHANGES = {"binance": "binance_spot", "binance_futures": "binance_usdm"}
NOT_HANDED_OVER = "imported: belongs to nobody yet"


class ImportFault(Exception):
    """What stands in the database isn't what stood in the source; that batch was rolled back."""


class NotVerified(Exception):
    """The source keeps its keys: not every one of them was found sealed here."""


class _Unusable(Exception):
    """A row can't be taken in; the text says why, and holds no key."""


@dataclass(slots=True)
class Progress:
    """What became of the source's rows so far. ``refused``: those that can't be taken in, each with its reason."""

    total: int
    imported: int = 0
    found: int = 0
    blanked: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.imported + self.found + len(self.refused)


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports one source. ``name`` tells several former installations apart, and makes the rows' ids."""

    source: Source
    name: str
    batch_size: int = 100
    dry_run: bool = False

    def run(self) -> Generator[Progress, None, None]:
        """Tells how far it is before the first batch and after each one. ``dry_run`` reads and writes nothing.

        Raises ImportFault, and what reading the source raises.
        """
        kinds = [kind for kind in _KINDS if kind.table in self.source.tables()]
        progress = Progress(sum(self.source.count(kind.table) for kind in kinds))
        user = default_user(self.name) if self.dry_run else _make_default_user(self.name)
        if not self.dry_run:
            record("legacy.import_started", user_id=None, details={"name": self.name, "rows": progress.total})
        yield progress
        for kind in kinds:
            for rows in self._batches(kind.table):
                self._take(kind, rows, user, progress)
                yield progress
        if not self.dry_run:
            told = {"imported": progress.imported, "found": progress.found, "refused": len(progress.refused)}
            record("legacy.imported", user_id=None, details={"name": self.name, **told})

    def blank(self, progress: Progress) -> Generator[Progress, None, None]:
        """Blanks the source's keys, each batch only after it was found here, opened and compared once more.

        Raises NotVerified, with nothing blanked of that batch.
        """
        for rows in self._batches("connections"):
            plain = [row for row in rows if row["api_key"] or row["api_secret"]]
            with everyone():
                stored = Connection.objects.in_bulk([self.row_id("connections", row["id"]) for row in plain])
            for row in plain:
                if not _holds(stored.get(self.row_id("connections", row["id"])), row):
                    raise NotVerified(f"connections {row['id']} isn't sealed here as it stands in the source")
            progress.blanked += self.source.blank(plain)
            yield progress
        self.source.forget()
        record("legacy.source_blanked", user_id=None, details={"name": self.name, "connections": progress.blanked})

    def row_id(self, table: str, source_id: object) -> UUID:
        """The id that a source's row has here."""
        return uuid5(uuid5(NAMESPACE_URL, f"des-legacy:{self.name}"), f"{table}:{source_id}")

    def _batches(self, table: str) -> Iterator[Sequence[Row]]:
        last = None
        while rows := self.source.rows(table, last, self.batch_size):
            yield rows
            last = rows[-1]["id"]

    def _take(self, kind: "_Kind", rows: Sequence[Row], user: User | None, progress: Progress) -> None:
        with everyone():
            known = kind.model.objects.in_bulk([self.row_id(kind.table, row["id"]) for row in rows])
        fresh: dict[UUID, Row] = {}
        made = []
        for row in rows:
            try:
                if (found := known.get(self.row_id(kind.table, row["id"]))) is not None:
                    _compare(found, row)
                    progress.found += 1
                else:
                    made.append(kind.make(self, row, user or User()))
                    fresh[made[-1].pk] = row
            except (_Unusable, NotMoney, KeyError, ValueError) as error:
                reason = f"has no column {error}" if isinstance(error, KeyError) else str(error)
                progress.refused.append(f"{kind.table} {row['id']}: {reason}")
        if not self.dry_run:
            with everyone(), transaction.atomic():
                kind.model.objects.bulk_create(made)
                if kind.model is Connection:
                    _verify(fresh)
        progress.imported += len(made)


def default_user(name: str) -> User | None:
    """To whom the rows of this installation belong until they are handed over; None when there is none (any more)."""
    return User.objects.with_email(_email(name)).first()


def _make_default_user(name: str) -> User:
    """Nobody can log in as this user, and engines trade nothing for them."""
    found = default_user(name)
    return found or User.objects.create_user(_email(name), None, is_active=False)


def _email(name: str) -> str:
    return f"{name}@legacy.invalid"


def _compare(found: Any, row: Row) -> None:
    """Of an earlier run. A source that is blanked already has nothing to compare any more."""
    if isinstance(found, Connection) and (row["api_key"] or row["api_secret"]) and not _holds(found, row):
        raise _Unusable("is here already, with another key than the source's")


def _verify(rows: Mapping[UUID, Row]) -> None:
    """Opens what now stands in the database. Raises ImportFault."""
    stored = Connection.objects.in_bulk(list(rows))
    for key, row in rows.items():
        if not _holds(stored.get(key), row):
            raise ImportFault(f"connections {row['id']} doesn't read back as it stands in the source")


def _holds(stored: Connection | None, row: Row) -> bool:
    try:
        return stored is not None and open_credentials(stored) == Credentials(row["api_key"], row["api_secret"])
    except CredentialsUnreadable:
        return False


def _connection(importer: Importer, row: Row, user: User) -> Connection:
    if not (row["api_key"] and row["api_secret"]):
        raise _Unusable("has no key and secret")
    exchange = _EXCHANGES.get(row["exchange"], row["exchange"])
    if exchange not in venues():
        raise _Unusable(f"unknown exchange: {row['exchange']!r:.40}")
    mode = row.get("mode") or (Mode.TESTNET if row.get("testnet") else Mode.LIVE)
    if mode not in Mode.values:
        raise _Unusable(f"unknown mode: {mode!r:.40}")
    made = Connection(
        pk=importer.row_id("connections", row["id"]), user=user, name=_name(row), exchange=exchange, mode=mode,
        status=ConnectionStatus.DISABLED, status_reason=NOT_HANDED_OVER,
    )
    seal_credentials(
        Credentials(row["api_key"], row["api_secret"]), user_id=user.pk, connection_id=made.pk, exchange=exchange
    ).store_in(made)
    return made


def _name(row: Row) -> str:
    """With its id, so that no two are the same."""
    return f"{str(row.get('name') or row.get('exchange') or row.get('strategy'))[:60]} ({row['id']})"[:80]


def _instance(importer: Importer, row: Row, user: User) -> StrategyInstance:
    return StrategyInstance(
        pk=importer.row_id("traders", row["id"]), user=user, name=_name(row), strategy=str(row["strategy"])[:32],
        connection_id=_bound_to(importer, row), symbol=row["symbol"], timeframe=row.get("timeframe") or "1m",
        params=_object(row.get("params")),
    )


def _trade(importer: Importer, row: Row, user: User) -> Trade:
    return Trade(
        pk=importer.row_id("trades", row["id"]), user=user, connection_id=_bound_to(importer, row),
        exchange_trade_id=str(row.get("exchange_trade_id") or f"legacy-{row['id']}"), symbol=row["symbol"],
        side=_side(row["side"]), quantity=money(str(row["quantity"])), price=money(str(row["price"])),
        fee=_amount(row.get("fee")), fee_asset=row.get("fee_asset") or "",
        realized_pnl=_amount(row.get("realized_pnl")), executed_at=_time(row["executed_at"]),
    )


def _bound_to(importer: Importer, row: Row) -> UUID:
    found = importer.row_id("connections", row["connection_id"])
    with everyone():
        if not importer.dry_run and not Connection.objects.filter(pk=found).exists():
            raise _Unusable(f"its connection {row['connection_id']} wasn't taken in")
    return found


def _side(text: str) -> str:
    side = str(text).lower()
    if side not in ("buy", "sell"):
        raise _Unusable("side must be buy or sell")
    return side


def _amount(value: object) -> Any:
    return ZERO if value is None else money(str(value))


def _time(value: object) -> datetime:
    """A time; one without a zone is UTC, a number epoch seconds."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _object(value: object) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str) and value else value or {}
    if not isinstance(found, dict):
        raise _Unusable("params must be a JSON object")
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """A table of the source, and what becomes of its rows."""

    table: str
    model: Any
    make: Callable[[Importer, Row, User], Any]


# Those that others hang on first.
_KINDS = (
    _Kind("connections", Connection, _connection),
    _Kind("traders", StrategyInstance, _instance),
    _Kind("trades", Trade, _trade),
)
