"""How much to order: an instance's sizing, and an order's amounts cut to what the exchange takes.

The exchange's filters are in ``SymbolRules``: amounts are rounded down, limit prices to the side of the one who asks,
and what is then below a minimum or above a maximum is refused before anything is sent.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from connections.gateways import OrderType, Side, SymbolRules
from desproject.lib.errors import InvalidInput
from desproject.lib.money import DECIMALS, DIGITS, ZERO, NotMoney, exact, floor_to, money, plain

_MAX_AMOUNT = Decimal(10) ** (DIGITS - DECIMALS)
AMOUNT_PATTERN = r"^\d{1,20}(\.\d{1,18})?$"


class OrderTooSmall(InvalidInput):
    """Below the exchange's minimum quantity or worth."""

    code = "ORDER_TOO_SMALL"


class OrderTooLarge(InvalidInput):
    """Above the exchange's maximum quantity, or more than DES can count."""

    code = "ORDER_TOO_LARGE"


def _read_amount(value: object) -> Decimal:
    """A positive amount, given as a string of plain decimals: JSON numbers would be binary floats."""
    if not isinstance(value, str | Decimal):
        raise ValueError("must be a decimal number as a string")
    try:
        amount = money(value)
    except NotMoney as error:
        raise ValueError(str(error)) from None
    if amount <= 0:
        raise ValueError("must be more than 0")
    return amount


Amount = Annotated[
    Decimal, BeforeValidator(_read_amount), WithJsonSchema({"type": "string", "pattern": AMOUNT_PATTERN})
]


def _is_share(value: Decimal) -> Decimal:
    if value >= 1:
        raise ValueError("must be less than 1")
    return value


Share = Annotated[Amount, AfterValidator(_is_share)]


class _Sizing(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QuoteAmount(_Sizing):
    """Each entry spends a fixed amount of the quote asset."""

    type: Literal["quote_amount"]
    amount: Amount = Field(description="What an entry spends, in the quote asset.")


class BaseAmount(_Sizing):
    """Each entry buys a fixed amount of the base asset."""

    type: Literal["base_amount"]
    amount: Amount = Field(description="What an entry buys, in the base asset.")


class EquityShare(_Sizing):
    """Each entry spends a share of what the account is worth in the quote asset."""

    type: Literal["equity_share"]
    share: Share = Field(description="Of the account's worth, for example 0.1.")


class RiskPerTrade(_Sizing):
    """Each entry is as large as loses a share of the account's worth when the price falls by the stop distance."""

    type: Literal["risk_per_trade"]
    risk: Share = Field(description="Of the account's worth, what one stop may lose, for example 0.01.")
    stop_distance: Share = Field(description="From the entry to its stop, as a part of the price, for example 0.02.")


Sizing = QuoteAmount | BaseAmount | EquityShare | RiskPerTrade
_SIZING: TypeAdapter[Sizing] = TypeAdapter(Annotated[Sizing, Field(discriminator="type")])


_TYPES = ("quote_amount", "base_amount", "equity_share", "risk_per_trade")


def sizing_schema() -> dict[str, Any]:
    """The JSON Schema of an instance's sizing."""
    return _SIZING.json_schema()


def parse_sizing(raw: object) -> Sizing:
    """A typed sizing from JSON values. Raises InvalidInput whose ``fields`` name what is wrong."""
    try:
        return _SIZING.validate_python(raw)
    except ValidationError as error:
        raise InvalidInput("bad sizing", fields=_by_name(error)) from None


def _by_name(error: ValidationError) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:  # no object, or no known type; else the location is (type, name)
            return {"type": [f"must be given as one of: {', '.join(_TYPES)}"]}
        fields.setdefault(str(problem["loc"][-1]), []).append(problem["msg"].removeprefix("Value error, "))
    return fields


def quantity_for(
    sizing: Sizing, price: Decimal, rules: SymbolRules, worth: Callable[[], Decimal] = lambda: ZERO
) -> Decimal:
    """What an entry at ``price`` orders, as a market order, in the base asset. ``worth`` is the account's, in quote.

    Raises OrderTooSmall or OrderTooLarge with a reason for people.
    """
    if price <= 0:
        raise InvalidInput("there is no price to size the order by")
    with exact():
        wanted = sizing.amount if isinstance(sizing, BaseAmount) else _to_spend(sizing, worth) / price
    return _fitting(rules, OrderType.MARKET, wanted, price)


def _to_spend(sizing: QuoteAmount | EquityShare | RiskPerTrade, worth: Callable[[], Decimal]) -> Decimal:
    if isinstance(sizing, QuoteAmount):
        return sizing.amount
    if isinstance(sizing, EquityShare):
        return worth() * sizing.share
    return worth() * sizing.risk / sizing.stop_distance


def round_order(
    rules: SymbolRules,
    side: Side,
    type: OrderType,
    quantity: Decimal,
    price: Decimal | None,
    *,
    reference_price: Decimal | None = None,
) -> tuple[Decimal, Decimal | None]:
    """Quantity and limit price as the exchange takes them; ``reference_price`` is what a market order would fill at.

    Never more than was asked for, never at a worse price: buys round the price down, sells up.
    Raises InvalidInput, OrderTooSmall or OrderTooLarge, naming the field and what is allowed.
    """
    limit = _limit_price(rules, Side(side), OrderType(type), price)
    return _fitting(rules, OrderType(type), quantity, limit or reference_price), limit


def sellable(rules: SymbolRules, quantity: Decimal, price: Decimal) -> Decimal:
    """How much of a holding a market order can sell; 0 when what is held is dust that the exchange doesn't take."""
    with exact():
        fits = floor_to(min(quantity, _max_quantity(rules, OrderType.MARKET) or quantity), rules.quantity_step)
        return fits if fits > 0 and fits >= rules.min_quantity and fits * price >= rules.min_notional else ZERO


def _limit_price(rules: SymbolRules, side: Side, type: OrderType, price: Decimal | None) -> Decimal | None:
    if type == OrderType.MARKET:
        if price is not None:
            raise InvalidInput("bad price", fields={"price": ["a market order takes no price"]})
        return None
    if price is None:
        raise InvalidInput("price missing", fields={"price": [f"a {type} order needs a price"]})
    step = rules.price_step_at(price)
    rounded = floor_to(price, step)
    if side == Side.SELL and rounded < price:
        rounded += step
    if rounded <= 0:
        least = plain(step) if step else "more than 0"
        raise InvalidInput("bad price", fields={"price": [f"must be at least {least}"]})
    return rounded


def _max_quantity(rules: SymbolRules, type: OrderType) -> Decimal:
    """The most that one order may ask for; 0 is no limit."""
    limits = [rules.max_quantity, rules.market_max_quantity if type == OrderType.MARKET else ZERO]
    return min((limit for limit in limits if limit), default=ZERO)


def _fitting(rules: SymbolRules, type: OrderType, quantity: Decimal, price: Decimal | None) -> Decimal:
    """The quantity rounded down to the exchange's step, within its bounds."""
    if quantity <= 0:
        raise InvalidInput("bad quantity", fields={"quantity": ["must be more than 0"]})
    rounded = floor_to(quantity, rules.quantity_step)
    least = max(rules.min_quantity, rules.quantity_step)
    if rounded < least or rounded <= 0:
        raise _refused(OrderTooSmall, f"the least that can be ordered is {plain(least)} {rules.base}")
    most = _max_quantity(rules, type)
    if most and rounded > most:
        raise _refused(OrderTooLarge, f"the most that one order can have is {plain(most)} {rules.base}")
    if price is not None:
        _check_worth(rules, rounded, price)
    return rounded


def _check_worth(rules: SymbolRules, quantity: Decimal, price: Decimal) -> None:
    with exact():
        worth = quantity * price
        if worth < rules.min_notional:
            least = plain(rules.min_notional)
            raise _refused(
                OrderTooSmall,
                f"worth {_figure(worth)} {rules.quote}, the least that can be ordered is {least} {rules.quote}",
            )
        if worth >= _MAX_AMOUNT:
            raise _refused(OrderTooLarge, "the order's worth is more than can be counted")


def _figure(worth: Decimal) -> str:
    """An amount for people, without endless decimals."""
    return plain(floor_to(worth, Decimal("0.00000001")))


def _refused(kind: type[InvalidInput], reason: str) -> InvalidInput:
    return kind(reason, fields={"quantity": [reason]})
