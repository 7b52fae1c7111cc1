"""Exact amounts, whatever the notation, the database and the arithmetic around them."""

import threading
from decimal import Decimal, getcontext, localcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from accounts.tenancy import tenant_scope
from desproject.lib.money import DECIMALS, ZERO, MoneyField, NotMoney, exact, floor_to, money, plain, settle
from risk.models import RiskPolicy

D = Decimal
LONGEST = D("12345678901234567890.123456789012345678")
amounts = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda units: Decimal(units).scaleb(-DECIMALS))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", D(1)),
        ("0.00000001", D("0.00000001")),
        ("-3.50", D("-3.5")),
        ("1e3", D(1000)),
        (7, D(7)),
        (D("2.5"), D("2.5")),
        ("99999999999999999999.999999999999999999", D("99999999999999999999.999999999999999999")),
        ("1.000000000000000000000000", D(1)),
    ],
)
def test_reads_plain_numbers(text: str | int | Decimal, value: Decimal) -> None:
    assert money(text) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "x",
        "1,5",
        "1_000",
        "٣",
        "0x10",
        "--1",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "1e20",
        "1e999999",  # an Arabic digit
        "0.0000000000000000001",
        "1e-19",
        "1.0000000000000000001",
        "1e-999999999",
        1.5,
        float("nan"),
        True,
        None,
        [1],
        {},
        (1, 2),
    ],
)
def test_refuses_what_is_no_amount(value: object) -> None:
    with pytest.raises(NotMoney):
        money(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "-0", "0e999999", "0e-999999", "0.00"])
def test_zero_is_zero_in_any_notation(text: str) -> None:
    assert str(money(text)) == "0"


def test_a_flood_of_zeros_is_not_kept() -> None:
    assert len(str(money("1." + "0" * 100_000))) < 10


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+3", "1000"),
        ("1.500", "1.5"),
        ("-0", "0"),
        ("0E-18", "0"),
        ("1E-18", "0.000000000000000001"),
        ("-2.50", "-2.5"),
    ],
)
def test_plain_is_the_shortest_plain_notation(value: str, text: str) -> None:
    assert plain(D(value)) == text


@given(amounts)
def test_plain_reads_back_as_the_same_amount(amount: Decimal) -> None:
    text = plain(amount)
    assert money(text) == amount
    assert "E" not in text


@given(st.integers(-(10**44) + 1, 10**44 - 1).map(lambda units: D(units).scaleb(-24)))
def test_settled_is_cut_towards_zero_to_what_is_stored(value: Decimal) -> None:
    settled = settle(value)
    assert money(settled) == settled
    with exact():
        assert 0 <= abs(value) - abs(settled) < D("1e-18")
    assert settle(settled) == settled


@pytest.mark.parametrize(("value", "text"), [("100", "100"), ("0E-18", "0"), ("-0.0000000000000000009", "0")])
def test_settled_has_no_exponent(value: str, text: str) -> None:
    assert str(settle(D(value))) == text


@given(
    st.integers(0, 10**24).map(lambda units: D(units).scaleb(-9)), st.integers(1, 10**9).map(lambda u: D(u).scaleb(-6))
)
def test_floored_is_the_largest_multiple_below(value: Decimal, step: Decimal) -> None:
    floored = floor_to(value, step)
    with exact():
        assert floored % step == 0
        assert 0 <= value - floored < step


def test_without_a_step_nothing_is_floored() -> None:
    assert floor_to(D("1.23"), ZERO) == D("1.23")


def test_a_multiple_stays() -> None:
    assert floor_to(D("0.3"), D("0.1")) == D("0.3")


def test_negative_amounts_are_floored_towards_zero() -> None:
    assert floor_to(D("-1.29"), D("0.1")) == D("-1.2")


@given(amounts, amounts)
def test_products_are_exact_inside_exact(one: Decimal, other: Decimal) -> None:
    with exact():
        product = one * other
    assert int(product.scaleb(36)) == int(one.scaleb(18)) * int(other.scaleb(18))


def test_arithmetic_keeps_every_digit_of_an_amount_in_new_threads_too() -> None:
    seen: list[Decimal] = []
    thread = threading.Thread(target=lambda: seen.append(LONGEST + D("1e-18")))
    thread.start()
    thread.join()
    assert seen == [D("12345678901234567890.123456789012345679")]
    assert getcontext().prec >= 76


FIELD = MoneyField()
# Connections that are never opened: only their vendor matters.
SQLITE: Any = SimpleNamespace(vendor="sqlite")
POSTGRESQL: Any = SimpleNamespace(vendor="postgresql")


@given(amounts)
def test_sqlite_gives_back_what_was_stored(amount: Decimal) -> None:
    stored = FIELD.get_db_prep_value(amount, SQLITE)
    assert isinstance(stored, str)
    assert FIELD.from_db_value(stored) == amount


@given(amounts)
def test_postgresql_gives_back_what_was_stored(amount: Decimal) -> None:
    stored = FIELD.get_db_prep_value(amount, POSTGRESQL)
    padded = stored.quantize(D("1e-18"))  # as NUMERIC(38, 18) answers
    read = FIELD.from_db_value(padded)
    assert read == amount
    assert "E+" not in str(read)


def test_reading_does_not_depend_on_the_context_around_it() -> None:
    with localcontext(prec=5):
        assert FIELD.from_db_value(str(LONGEST)) == LONGEST
        assert money(str(LONGEST)) == LONGEST
        assert plain(LONGEST) == str(LONGEST)
        assert settle(LONGEST) == LONGEST
        assert floor_to(LONGEST, D("1e-18")) == LONGEST


def test_null_stays_null() -> None:
    assert FIELD.to_python(None) is FIELD.get_prep_value(None) is FIELD.from_db_value(None) is None
    assert FIELD.get_db_prep_value(None, connection) is None


def test_a_bad_value_is_a_validation_error() -> None:
    with pytest.raises(ValidationError):
        FIELD.to_python("NaN")


@pytest.mark.django_db
@pytest.mark.parametrize("amount", [LONGEST, -LONGEST, D("1e-18"), D(10) ** 19, ZERO, D("1.50")])
def test_the_database_in_use_gives_back_what_was_stored(alice: User, amount: Decimal) -> None:
    with tenant_scope(alice.pk):
        policy = RiskPolicy.objects.create(user=alice, level="user", target_id=alice.pk, max_exposure=amount)
        read = RiskPolicy.objects.get(pk=policy.pk).max_exposure
        found = RiskPolicy.objects.filter(max_exposure=amount).count()
    assert read == amount
    assert found == 1


@pytest.mark.django_db
@pytest.mark.parametrize("lookup", ["gt", "gte", "lt", "lte", "contains", "range", "startswith"])
def test_amounts_are_not_compared_in_sql(alice: User, lookup: str) -> None:
    with tenant_scope(alice.pk), pytest.raises(FieldError):
        RiskPolicy.objects.filter(**{f"max_exposure__{lookup}": D(1)}).count()
