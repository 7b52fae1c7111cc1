"""What ends an instance's position besides its strategy: attached stops and times (STG-10). Pure.

Rates are parts of a price: a stop-loss of 0.02 sells 2 % below what the entry paid.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from desproject.lib.errors import InvalidInput
from desproject.lib.money import exact, settle
from trading.sizing import Amount, Share

_MONTH = 30 * 86_400
# A trailing stop's highest price is stored in steps of this part of its distance.
_STEPS = 100
_MOST_PROFIT = 100


class Why(StrEnum):
    """What ended a position."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    MAX_HOLDING = "max_holding"


def _bounded(value: Decimal) -> Decimal:
    if value > _MOST_PROFIT:
        raise ValueError(f"must be at most {_MOST_PROFIT}")
    return value


class Exits(BaseModel):
    """An instance's attached stops and times; what isn't set doesn't hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stop_loss: Share | None = Field(None, description="Sells so far below the entry's price, for example 0.02.")
    take_profit: Annotated[Amount, AfterValidator(_bounded)] | None = Field(
        None, description="Sells so far above the entry's price."
    )
    trailing_stop: Share | None = Field(None, description="Sells so far below the highest price since the entry.")
    max_holding_seconds: int | None = Field(None, ge=1, le=_MONTH, description="Sells so long after the entry.")
    cool_down_seconds: int | None = Field(None, ge=1, le=_MONTH, description="No entry for so long after a loss.")


def exits_schema() -> dict[str, Any]:
    """The JSON Schema of an instance's exits."""
    return Exits.model_json_schema()


def parse_exits(raw: object) -> Exits:
    """Typed exits from JSON values. Raises InvalidInput whose ``fields`` name what is wrong."""
    try:
        return Exits.model_validate(raw)
    except ValidationError as error:
        fields: dict[str, list[str]] = {}
        for problem in error.errors(include_url=False, include_input=False):
            name = str(problem["loc"][0]) if problem["loc"] else ""
            fields.setdefault(name, []).append(problem["msg"].removeprefix("Value error, "))
        raise InvalidInput("bad exits", fields={name: texts for name, texts in fields.items() if name}) from None


@dataclass(frozen=True, slots=True)
class Attached:
    """The exits of a position: what its entry paid, since when it is held, and its highest price that is stored."""

    entry_id: UUID
    exits: Exits
    price: Decimal
    since: datetime
    peak: Decimal

    def floors(self) -> dict[Why, Decimal]:
        """The prices at or below which it is sold."""
        found = {}
        with exact():
            if self.exits.stop_loss is not None:
                found[Why.STOP_LOSS] = settle(self.price * (1 - self.exits.stop_loss))
            if self.exits.trailing_stop is not None:
                found[Why.TRAILING_STOP] = settle(self.peak * (1 - self.exits.trailing_stop))
        return found

    def bounds(self) -> tuple[Decimal | None, Decimal | None]:
        """(floor, ceiling): a price between them is of no interest."""
        ceilings = [price for price in (self._target(), self._next_peak()) if price is not None]
        return max(self.floors().values(), default=None), min(ceilings, default=None)

    def reached(self, price: Decimal) -> Why | None:
        """What a price ends it for, if it does."""
        floors = self.floors()
        for why in (Why.STOP_LOSS, Why.TRAILING_STOP):
            if why in floors and price <= floors[why]:
                return why
        target = self._target()
        return Why.TAKE_PROFIT if target is not None and price >= target else None

    def is_highest(self, price: Decimal) -> bool:
        """Whether a price is to be stored as the highest."""
        ceiling = self._next_peak()
        return ceiling is not None and price >= ceiling

    def is_over(self, now: datetime) -> bool:
        """Whether it has been held for as long as it may."""
        most = self.exits.max_holding_seconds
        return most is not None and (now - self.since).total_seconds() >= most

    def _target(self) -> Decimal | None:
        with exact():
            return None if self.exits.take_profit is None else settle(self.price * (1 + self.exits.take_profit))

    def _next_peak(self) -> Decimal | None:
        with exact():
            if self.exits.trailing_stop is None:
                return None
            return settle(self.peak * (1 + self.exits.trailing_stop / _STEPS))
