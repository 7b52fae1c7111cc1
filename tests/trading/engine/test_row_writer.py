"""Rows written without the ORM read back through it as the ORM itself would have stored them."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from accounts.tenancy import OutOfScope, tenant_scope
from audit.codes import fits
from audit.models import AuditLog
from risk.models import RiskMetrics
from tests.trading.engine.test_committer import instance_of
from trading.engine import row_writer
from trading.engine.committer import _CREATE_ORDER
from trading.engine.state import changed
from trading.engine.statements import together
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Balance,
    Order,
    OrderAttempt,
    OrderEvent,
    Position,
    Reservation,
    Signal,
    StrategyInstance,
)

pytestmark = pytest.mark.django_db(transaction=True)

AMOUNTS = st.decimals(min_value="-99999999999", max_value="99999999999", places=18)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=16)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # aware by the line
DETAILS = st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(-(2**53), 2**53), st.booleans(), st.none()), max_size=3)
KINDS: dict[type[Any], Callable[[Any], st.SearchStrategy[Any]]] = {
    models.CharField: lambda field: TEXTS.map(lambda text: text[: field.max_length]),
    models.DateTimeField: lambda _: MOMENTS,
    models.DateField: lambda _: MOMENTS.map(lambda at: at.date()),
    models.JSONField: lambda _: DETAILS,
    models.BooleanField: lambda _: st.booleans(),
    models.PositiveSmallIntegerField: lambda _: st.integers(0, 32767),
    models.IntegerField: lambda _: st.integers(0, 2**31 - 1),
    models.PositiveBigIntegerField: lambda _: st.integers(0, 2**60),
    models.PositiveIntegerField: lambda _: st.integers(0, 2**31 - 1),
    models.FloatField: lambda _: st.floats(allow_nan=False, allow_infinity=False),
    models.UUIDField: lambda _: st.uuids(),
    models.GenericIPAddressField: lambda _: st.ip_addresses().map(str),
}


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Anything that the column may hold."""
    make = KINDS.get(type(field))
    kind = make(field) if make else AMOUNTS
    return st.none() | kind if field.null else kind


def is_free(field: Any) -> bool:
    is_stamp = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return field.editable and not (field.primary_key or field.is_relation or is_stamp)


def filled(model: type[models.Model], drawn: Any, links: dict[str, object]) -> models.Model:
    row = model(**links)
    for field in model._meta.concrete_fields:
        if is_free(field) and field.attname not in links:
            setattr(row, field.attname, drawn(values_of(field)))
    return row


def links_of(model: type[models.Model], instance: StrategyInstance, order: Order) -> dict[str, object]:
    """What the foreign keys of a row of this kind point at; a key of its own where it has none."""
    known = {
        "user_id": instance.user_id,
        "connection_id": instance.connection_id,
        "instance_id": instance.pk,
        "order_id": order.pk,
        "buy_connection_id": instance.connection_id,
        "sell_connection_id": instance.connection_id,
    }
    names = {field.attname for field in model._meta.concrete_fields if field.is_relation}
    links: dict[str, object] = {name: value for name, value in known.items() if name in names}
    if model is OrderAttempt:
        links["client_order_id"] = uuid4().hex
    if model is ArbitrageFire:
        links["signal_id"] = signal_of(instance).pk
    if model is ArbitrageLeg:
        links["fire_id"] = fire_of(instance).pk
    return links


def signal_of(instance: StrategyInstance) -> Signal:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    signal: Signal = Signal.objects.create(
        user_id=instance.user_id, instance=instance, event_key=uuid4().hex, price=1, observed_at=at, decided_at=at
    )
    return signal


def fire_of(instance: StrategyInstance) -> ArbitrageFire:
    ends = {"buy_connection_id": instance.connection_id, "sell_connection_id": instance.connection_id}
    sums = dict.fromkeys(("quantity", "expected_buy_price", "expected_sell_price", "expected_profit"), Decimal(1))
    fire: ArbitrageFire = ArbitrageFire.objects.create(
        user_id=instance.user_id, instance=instance, signal=signal_of(instance), **ends, **sums
    )
    return fire


def without_stamps(model: type[models.Model], row: models.Model) -> dict[str, Any]:
    # The code of an audit row differs each time.
    skipped = {"code"} if model is AuditLog else {"created_at", "updated_at"}
    own_key = {model._meta.pk.attname} if model not in (OrderAttempt, Reservation, ArbitrageLeg) else set()
    return {
        f.attname: getattr(row, f.attname) for f in model._meta.concrete_fields if f.attname not in skipped | own_key
    }


@pytest.mark.parametrize("model", _CREATE_ORDER)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_row_reads_back_as_the_orms_own(alice: User, model: type[models.Model], data: st.DataObject) -> None:
    with tenant_scope(alice.pk), transaction.atomic():
        instance = instance_of(alice)
        order = Order.objects.create(user=alice, connection_id=instance.connection_id, quantity=1)
        row = filled(model, data.draw, links_of(model, instance, order))
        twin, before = changed(row), transaction.savepoint()
        model._default_manager.bulk_create([twin])
        theirs = without_stamps(model, model._default_manager.get(pk=twin.pk))
        transaction.savepoint_rollback(before)
        with together() as statements:
            row_writer.insert(statements, model, [row])()
        assert not row._state.adding
        stored = model._default_manager.get(pk=row.pk)
        assert without_stamps(model, stored) == theirs
        assert not isinstance(stored, AuditLog) or fits(stored)
        transaction.set_rollback(True)


@pytest.mark.parametrize("model", [Order, Position, Balance, RiskMetrics, Reservation, OrderAttempt, StrategyInstance])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_reads_back_as_the_orms_own(alice: User, model: type[models.Model], data: st.DataObject) -> None:
    with tenant_scope(alice.pk), transaction.atomic():
        instance = instance_of(alice)
        order = Order.objects.create(user=alice, connection_id=instance.connection_id, quantity=1)
        row = filled(model, data.draw, links_of(model, instance, order))
        model._default_manager.bulk_create([row])
        names = [f.name for f in model._meta.concrete_fields if is_free(f)]
        after = changed(row, **{name: data.draw(values_of(model._meta.get_field(name))) for name in names})
        model._default_manager.filter(pk=row.pk).update(**{name: getattr(after, name) for name in names})
        theirs = without_stamps(model, model._default_manager.get(pk=row.pk))
        model._default_manager.filter(pk=row.pk).update(**{name: getattr(row, name) for name in names})
        with together() as statements:
            row_writer.update(statements, model, names, [after])()
        assert without_stamps(model, model._default_manager.get(pk=row.pk)) == theirs
        transaction.set_rollback(True)


def an_event(user: User, instance: StrategyInstance) -> tuple[Order, OrderEvent]:
    order = Order.objects.create(user=user, connection_id=instance.connection_id, quantity=1)
    return order, OrderEvent(
        user_id=user.pk, order_id=order.pk, from_status="a", to_status="b", cause="c", at=order.created_at
    )


def test_rows_that_the_database_counts_get_their_own_numbers(alice: User) -> None:
    with tenant_scope(alice.pk), transaction.atomic():
        _, first = an_event(alice, instance_of(alice))
        second = changed(first, to_status="c")
        with together() as statements:
            row_writer.insert(statements, OrderEvent, [first, second])()
        assert OrderEvent.objects.get(pk=first.pk).to_status == "b"
        assert OrderEvent.objects.get(pk=second.pk).to_status == "c"


def test_changes_are_counted_even_when_nothing_else_is_asked(alice: User) -> None:
    with tenant_scope(alice.pk), transaction.atomic():
        order, _ = an_event(alice, instance_of(alice))
        with together() as statements:
            row_writer.update(statements, Order, ["symbol"], [changed(order, symbol="BTC/USDT")])()
        order.refresh_from_db()
        assert order.symbol == "BTC/USDT"


def test_one_missing_row_among_others_is_noticed(alice: User) -> None:
    with tenant_scope(alice.pk), transaction.atomic():
        order, _ = an_event(alice, instance_of(alice))
        missing = changed(order, pk=uuid4())
        with pytest.raises(DatabaseError, match="Order row vanished"), together() as statements:
            row_writer.update(statements, Order, ["symbol"], [order, missing])()
        transaction.set_rollback(True)


def test_a_row_of_a_tenant_out_of_scope_is_refused_whatever_its_key_says(alice: User, bob: User) -> None:
    instance = instance_of(alice)
    with tenant_scope(alice.pk):
        order, event = an_event(alice, instance)
    with tenant_scope(bob.pk), transaction.atomic(), together() as statements:
        with pytest.raises(OutOfScope):
            row_writer.insert(statements, OrderEvent, [event])
        with pytest.raises(OutOfScope):
            row_writer.update(statements, Order, ["symbol"], [order])


def test_a_foreign_row_under_our_name_is_not_changed(alice: User, bob: User) -> None:
    instance = instance_of(alice)
    with tenant_scope(alice.pk):
        order, _ = an_event(alice, instance)
    claimed = changed(order, user_id=bob.pk, symbol="ETH/USDT")
    with tenant_scope(bob.pk), transaction.atomic():
        with pytest.raises(DatabaseError, match="vanished"), together() as statements:
            row_writer.update(statements, Order, ["symbol"], [claimed])()
        transaction.set_rollback(True)
    with tenant_scope(alice.pk):
        assert Order.objects.get(pk=order.pk).symbol != "ETH/USDT"


def test_a_constraint_is_the_databases_and_its_error_djangos(alice: User) -> None:
    instance = instance_of(alice)
    now = instance.updated_at
    twice = [
        Signal(user=alice, instance=instance, event_key="k", price=Decimal(1), observed_at=now, decided_at=now)
        for _ in range(2)
    ]
    with tenant_scope(alice.pk), pytest.raises(IntegrityError), transaction.atomic(), together() as statements:
        row_writer.insert(statements, Signal, twice)()
    with tenant_scope(alice.pk):
        assert not Signal.objects.exists()
