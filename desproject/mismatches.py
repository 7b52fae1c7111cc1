"""What the simulated exchange saw against what the database says: the ground truth of every reliability test.

Both must agree to the last decimal once trading is quiet. Each difference has a name:

| kind | meaning |
|---|---|
| order_unknown_here | the exchange has an order of which the database knows no attempt |
| order_unknown_there | the database says that an order reached the exchange, which never saw it |
| order_unsettled | an order that hasn't ended, or of which nobody knows how |
| order_status, order_filled | both know the order and disagree on how it ended or on what was filled |
| sent_twice, accepted_twice | a client order id that the exchange received, or took, more than once |
| placed_twice | an order of which the exchange took more than one attempt |
| resent_blindly | an order of which the exchange received another attempt, though an earlier one may have arrived |
| fill_unknown_here, fill_unknown_there | a fill that only one side has |
| fill_differs | both have the fill, with another price, quantity or fee |
| balance | another amount of an asset |
| position | holds something else than its trades add up to |
| reservation_left | money still held back, although every order has ended |
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections.simulator.krw.payloads import trade_uuid
from desproject.lib.money import ZERO, plain
from trading.engine.corrections import PREFIX
from trading.models import Balance, Order, OrderAttempt, Position, Reservation, Trade
from trading.order_states import TERMINAL, OrderStatus
from trading.rebuilding import booked, rebuilt

# The simulator's order statuses in our words.
_STATUS = {
    "NEW": OrderStatus.SUBMITTED,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference: ``subject`` names the order, fill or asset it is about."""

    kind: str
    connection: UUID
    subject: str
    exchange: str
    database: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} on {self.connection}: exchange {self.exchange}, database {self.database}"


def compare(ledger: Mapping[str, Any], keys: Mapping[UUID, str], users: Iterable[UUID]) -> list[Mismatch]:
    """Every difference between the simulator's ledger and the database.

    ``ledger`` is the answer of its control API, ``keys`` maps each connection to its API key there, ``users`` are the
    connections' owners. Reads the database; call it when trading is quiet.
    """
    with tenant_scope(*users):
        return [
            mismatch
            for connection, key in keys.items()
            for mismatch in _Comparison(connection, ledger["accounts"][key]).run()
        ]


class _Comparison:
    """One connection against its account."""

    def __init__(self, connection: UUID, account: Mapping[str, Any]) -> None:
        self._connection = connection
        self._account = account
        self._orders = {order.pk: order for order in Order.objects.filter(connection_id=connection)}
        self._attempts = list(OrderAttempt.objects.filter(connection_id=connection).order_by("number"))
        self._order_of = {attempt.client_order_id: self._orders[attempt.order_id] for attempt in self._attempts}
        # Placed by hand: our name of it is the one that it has there.
        self._order_of |= {order.client_order_id: order for order in self._orders.values() if order.elsewhere}

    def run(self) -> Iterator[Mismatch]:
        yield from self._their_orders()
        yield from self._our_orders()
        yield from self._repeats()
        yield from self._fills()
        yield from self._balances()
        yield from self._positions()
        yield from self._reservations()

    def _mismatch(self, kind: str, subject: object, exchange: object, database: object) -> Mismatch:
        return Mismatch(kind, self._connection, str(subject), _text(exchange), _text(database))

    def _their_orders(self) -> Iterator[Mismatch]:
        for theirs in self._account["orders"]:
            client_id = theirs["client_order_id"]
            ours = self._order_of.get(client_id)
            if ours is None:
                yield self._mismatch("order_unknown_here", client_id, theirs["status"], None)
                continue
            if _STATUS[theirs["status"]] != ours.status:
                yield self._mismatch("order_status", client_id, theirs["status"], ours.status)
            if Decimal(theirs["executed"]) != ours.filled_quantity:
                yield self._mismatch("order_filled", client_id, theirs["executed"], ours.filled_quantity)

    def _our_orders(self) -> Iterator[Mismatch]:
        there = {theirs["client_order_id"] for theirs in self._account["orders"]}
        reached = {self._order_of[client_id].pk for client_id in there & self._order_of.keys()}
        for order in self._orders.values():
            if OrderStatus(order.status) not in TERMINAL:
                yield self._mismatch("order_unsettled", order.pk, None, order.status)
            if order.pk not in reached and (order.exchange_order_id or order.filled_quantity):
                yield self._mismatch("order_unknown_there", order.pk, None, order.status)

    def _repeats(self) -> Iterator[Mismatch]:
        for kind, counts in (("sent_twice", "received"), ("accepted_twice", "accepted")):
            for client_id, count in self._account[counts].items():
                if count > 1:
                    yield self._mismatch(kind, client_id, count, 1)
        taken = (theirs["client_order_id"] for theirs in self._account["orders"])
        attempts = Counter(self._order_of[client_id].pk for client_id in taken if client_id in self._order_of)
        for order, count in attempts.items():
            if count > 1:
                yield self._mismatch("placed_twice", order, count, 1)
        yield from self._blind_resends()

    def _blind_resends(self) -> Iterator[Mismatch]:
        """Another attempt may follow only one that is known to have done nothing."""
        followed: dict[UUID, OrderAttempt] = {}
        for attempt in self._attempts:
            if attempt.client_order_id not in self._account["received"]:
                continue
            before = followed.get(attempt.order_id)
            if before is not None and before.outcome != "not_sent":
                outcome = before.outcome or "no answer"
                yield self._mismatch("resent_blindly", before.order_id, attempt.client_order_id, outcome)
            followed[attempt.order_id] = attempt

    def _fills(self) -> Iterator[Mismatch]:
        theirs = {
            (_market(fill["symbol"]), _trade_id(fill)): (
                Decimal(fill["price"]), Decimal(fill["quantity"]), Decimal(fill["commission"]), fill["commission_asset"]
            )
            for fill in self._account["fills"]
        }  # fmt: skip
        ours = {
            (_market(trade.symbol), trade.exchange_trade_id): (
                trade.price, trade.quantity, trade.fee, trade.fee_asset
            )
            for trade in Trade.objects.filter(connection_id=self._connection)
            if not trade.exchange_trade_id.startswith(PREFIX)
        }  # fmt: skip
        for subject in sorted(theirs.keys() | ours.keys()):
            name, there, here = " ".join(subject), theirs.get(subject), ours.get(subject)
            if here is None:
                yield self._mismatch("fill_unknown_here", name, there, None)
            elif there is None:
                yield self._mismatch("fill_unknown_there", name, None, here)
            elif there != here:
                yield self._mismatch("fill_differs", name, there, here)

    def _balances(self) -> Iterator[Mismatch]:
        theirs = {
            asset: Decimal(balance["free"]) + Decimal(balance["locked"])
            for asset, balance in self._account["balances"].items()
        }
        ours = {balance.asset: balance.total for balance in Balance.objects.filter(connection_id=self._connection)}
        for asset in sorted(theirs.keys() | ours.keys()):
            there, here = theirs.get(asset, ZERO), ours.get(asset, ZERO)
            if there != here:
                yield self._mismatch("balance", asset, there, here)

    def _positions(self) -> Iterator[Mismatch]:
        trades = booked(connection_id=self._connection)
        adds_up = {symbol: rebuilt(of_symbol, symbol).quantity for (_, symbol), of_symbol in trades}
        held = {row.symbol: row.quantity for row in Position.objects.filter(connection_id=self._connection)}
        for symbol in sorted(adds_up.keys() | held.keys()):
            if adds_up.get(symbol, ZERO) != held.get(symbol, ZERO):
                yield self._mismatch("position", symbol, adds_up.get(symbol, ZERO), held.get(symbol, ZERO))

    def _reservations(self) -> Iterator[Mismatch]:
        for left in Reservation.objects.filter(connection_id=self._connection, released_at__isnull=True):
            yield self._mismatch("reservation_left", left.order_id, None, left.remaining)


def _market(symbol: str) -> str:
    """One name for what DES calls BTC/KRW and the exchange KRW-BTC."""
    quote, dash, base = symbol.partition("-")
    return base + quote if dash else symbol.partition(":")[0].replace("/", "")


def _trade_id(fill: Mapping[str, Any]) -> str:
    """As the venue's wire spells it."""
    return trade_uuid(fill["trade_id"]) if "-" in fill["symbol"] else str(fill["trade_id"])


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_text(part) for part in value)
    if isinstance(value, Decimal):
        return plain(value)
    return "-" if value is None else str(value)
