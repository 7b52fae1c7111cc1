"""Positions from their trades alone (ORD-10), and where the stored ones differ.

Trades are taken in the order in which they were booked: a fill that was told late moved the position late.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.db import transaction

from accounts.models import User
from accounts.tenancy import tenant_scope
from desproject.lib.money import ZERO, plain
from trading.models import Position, Trade
from trading.positions import FillLike, PositionState, is_on_margin, rebuild

_Key = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored position that isn't what its trades add up to; amounts by field, (stored, rebuilt)."""

    user_id: UUID
    connection_id: UUID
    symbol: str
    fields: Mapping[str, tuple[str, str]]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {stored} instead of {rebuilt}" for name, (stored, rebuilt) in self.fields.items())
        return f"{self.symbol} on {self.connection_id} of {self.user_id}: {told}"


def rebuilt(trades: Iterable[Trade], symbol: str) -> PositionState:
    """What trades of one symbol, oldest booked first, add up to."""
    base, _, quote = symbol.partition(":")[0].partition("/")
    return rebuild(cast("Iterable[FillLike]", trades), base, quote, on_margin=is_on_margin(symbol))


def booked(**of: Any) -> Iterator[tuple[_Key, list[Trade]]]:
    """The tenant's trades by connection and symbol, in the order in which they were booked."""
    rows = Trade.objects.filter(**of).order_by(
        "connection_id", "symbol", "created_at", "executed_at", "exchange_trade_id"
    )
    found: list[Trade] = []
    for row in rows.iterator(chunk_size=2000):
        if found and (found[0].connection_id, found[0].symbol) != (row.connection_id, row.symbol):
            yield (found[0].connection_id, found[0].symbol), found
            found = []
        found.append(row)
    if found:
        yield (found[0].connection_id, found[0].symbol), found


def differences(user_id: UUID) -> list[Difference]:
    """Where a user's stored positions aren't what their trades add up to; read in one transaction."""
    with tenant_scope(user_id), transaction.atomic():
        stored = {(row.connection_id, row.symbol): row for row in Position.objects.all()}
        states = {key: rebuilt(trades, key[1]) for key, trades in booked()}
    found = []
    for key in sorted(stored.keys() | states.keys(), key=str):
        fields = _compared(stored.get(key), states.get(key, PositionState()))
        if fields:
            found.append(Difference(user_id, key[0], key[1], fields))
    return found


def all_users() -> list[UUID]:
    return list(User.objects.order_by("created_at", "pk").values_list("pk", flat=True))


def _compared(row: Position | None, state: PositionState) -> dict[str, tuple[str, str]]:
    here = _shown(
        row.quantity if row else ZERO,
        row.average_price if row else ZERO,
        row.realized_pnl if row else ZERO,
        {asset: Decimal(amount) for asset, amount in row.other_fees.items()} if row else {},
    )
    there = _shown(state.quantity, state.average_price, state.realized_pnl, state.other_fees)
    return {name: (here[name], there[name]) for name in here if here[name] != there[name]}


def _shown(quantity: Decimal, average: Decimal, realized: Decimal, fees: Mapping[str, Decimal]) -> dict[str, str]:
    told = " ".join(f"{plain(amount)} {asset}" for asset, amount in sorted(fees.items()) if amount)
    return {
        "quantity": plain(quantity),
        "average_price": plain(average),
        "realized_pnl": plain(realized),
        "other_fees": told or "none",
    }
