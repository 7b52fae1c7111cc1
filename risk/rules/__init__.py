"""The risk rules that exist: one file each in this package, found by its ``Rule`` class."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from functools import cache

from desproject.lib.money import floor_to, plain
from desproject.lib.plugins import discover
from risk.engine import RiskRule, ordered

_SHOWN = Decimal("0.00000001")


@cache
def rules() -> Sequence[RiskRule]:
    """Every rule, in the order they are asked."""
    return tuple(ordered(discover(sys.modules[__name__], "Rule")))


def figure(amount: Decimal, asset: str) -> str:
    """An amount in a reason for people: at most 8 decimals."""
    return f"{plain(floor_to(amount, _SHOWN))} {asset}"


def percent(part: Decimal) -> str:
    """A part of one in a reason for people."""
    return f"{plain(floor_to(part * 100, _SHOWN))} %"
