"""Exact money: Decimal everywhere, 18 decimals at most, the same value back from either database."""

import decimal
from contextlib import AbstractContextManager
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldError, ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

DECIMALS = 18
DIGITS = 38
ZERO = Decimal(0)
# The product of two amounts has 76 digits at most, real ones far fewer.
_CONTEXT = Context(prec=2 * DIGITS)
_QUANTUM = Decimal(1).scaleb(-DECIMALS)
# Python computes with 28 digits unless told otherwise, and an amount may have 38: plain `+` and `*` would round
# silently. This holds for the threads and tasks that start after the import; exact() holds anywhere.
decimal.DefaultContext.prec = _CONTEXT.prec
decimal.getcontext().prec = _CONTEXT.prec


class NotMoney(ValueError):
    """The text is no plain finite decimal number that fits 20 digits before and 18 after the point."""


def money(value: str | int | Decimal) -> Decimal:
    """Reads an amount. Floats are refused on purpose: they are not exact.

    Raises NotMoney for NaN, infinities, exponents too large and anything that is no number.
    """
    if isinstance(value, float | bool):
        raise NotMoney("amounts are decimals, not floats")
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise NotMoney("not a decimal number")
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise NotMoney("not a decimal number") from error
    if not number.is_finite():
        raise NotMoney("not a finite number")
    if number and (number.adjusted() > DIGITS - DECIMALS - 1):
        raise NotMoney("more than 20 digits before the point")
    if not number:  # whatever its sign and exponent
        return ZERO
    if int(number.as_tuple().exponent) >= -DECIMALS:
        return number
    if _CONTEXT.quantize(number, _QUANTUM) != number:
        raise NotMoney("more than 18 decimals")
    return _CONTEXT.normalize(number)


def exact() -> AbstractContextManager[Context]:
    """Arithmetic inside is exact for amounts: enough digits for the product of any two. Divisions still round."""
    return localcontext(_CONTEXT)


def plain(value: Decimal) -> str:
    """The shortest plain notation: no exponent, no trailing zeros, no negative zero."""
    if not value:
        return "0"
    return format(value.normalize(_CONTEXT), "f")


def settle(value: Decimal) -> Decimal:
    """A computed amount cut to the 18 decimals that are stored."""
    with localcontext(_CONTEXT):
        return value.quantize(_QUANTUM, rounding=ROUND_DOWN).normalize() + ZERO


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """``value`` rounded towards zero to a multiple of ``step``; step 0 leaves it."""
    if not step:
        return value
    with localcontext(_CONTEXT):
        return (value / step).to_integral_value(rounding=ROUND_DOWN) * step


if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:  # Django's fields take no type arguments at run time
    _Field = models.Field


class MoneyField(_Field):
    """A column for exact amounts: NUMERIC(38, 18) on PostgreSQL, canonical text on SQLite.

    SQLite would store a decimal as a binary float; as text it is exact, but '10' < '9'. So only equality and
    NULL tests are allowed in queries, on both databases: comparing, ordering and summing happen in Python.
    """

    _LOOKUPS = frozenset({"exact", "in", "isnull"})

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return f"numeric({DIGITS}, {DECIMALS})" if connection.vendor == "postgresql" else "text"

    def get_internal_type(self) -> str:
        return "MoneyField"

    def to_python(self, value: Any) -> Decimal | None:
        if value is None:
            return None
        try:
            return money(value)
        except NotMoney as error:
            raise ValidationError(str(error), code="invalid") from error

    def from_db_value(self, value: Any, *_: Any) -> Decimal | None:
        return None if value is None else _CONTEXT.add(Decimal(value).normalize(_CONTEXT), ZERO)

    def get_prep_value(self, value: Any) -> Decimal | None:
        return None if value is None else money(value)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        amount = value if prepared else self.get_prep_value(value)
        if amount is None or connection.vendor == "postgresql":
            return amount
        return plain(amount)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name not in self._LOOKUPS:
            raise FieldError(f"money can't be compared in SQL ({lookup_name}): compare in Python")
        return super().get_lookup(lookup_name)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else plain(value)

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**kwargs)
