"""Order amounts as the exchange takes them."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.gateways import OrderType, Side, SymbolRules
from desproject.lib.errors import InvalidInput
from desproject.lib.money import ZERO
from trading.sizing import (
    BaseAmount,
    OrderTooLarge,
    OrderTooSmall,
    QuoteAmount,
    parse_sizing,
    quantity_for,
    round_order,
    sellable,
    sizing_schema,
)

D = Decimal
RULES = SymbolRules(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    price_step=D("0.01"),
    quantity_step=D("0.00001"),
    min_quantity=D("0.00001"),
    max_quantity=D("9000"),
    min_notional=D("5"),
    market_max_quantity=D("100"),
)
FREE = SymbolRules("X/Y", "X", "Y", ZERO, ZERO, ZERO, ZERO, ZERO)


def spend(amount: str) -> QuoteAmount:
    return QuoteAmount(type="quote_amount", amount=D(amount))


def buy(amount: str) -> BaseAmount:
    return BaseAmount(type="base_amount", amount=D(amount))


def test_sizing_is_read_from_json() -> None:
    assert parse_sizing({"type": "quote_amount", "amount": "25.5"}) == spend("25.5")
    assert parse_sizing({"type": "base_amount", "amount": "0.001"}) == buy("0.001")


@pytest.mark.parametrize(
    "amount", ["0", "-1", "NaN", "Infinity", "", "ten", "1e400", "0.0000000000000000001", 1, 1.5, True, None, ["1"]]
)
def test_a_bad_amount_is_refused_by_its_name(amount: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_sizing({"type": "quote_amount", "amount": amount})
    assert set(caught.value.fields) == {"amount"}


@pytest.mark.parametrize("raw", [None, [], "10", {}, {"type": "all_in", "amount": "1"}, {"amount": "1"}])
def test_the_kind_of_sizing_must_be_known(raw: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_sizing(raw)
    assert set(caught.value.fields) == {"type"}


def test_unknown_and_missing_names_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_sizing({"type": "base_amount", "amout": "1"})
    assert set(caught.value.fields) == {"amount", "amout"}


def test_the_schema_offers_all_kinds_with_amounts_as_text() -> None:
    schema = sizing_schema()
    assert set(schema["discriminator"]["mapping"]) == {
        "quote_amount", "base_amount", "equity_share", "risk_per_trade",
    }  # fmt: skip
    amounts = [each for kind in schema["$defs"].values() for name, each in kind["properties"].items() if name != "type"]
    assert [each["type"] for each in amounts] == ["string"] * 5


def test_a_quote_amount_buys_what_it_pays_for_rounded_down() -> None:
    assert quantity_for(spend("100"), D("60000"), RULES) == D("0.00166")


def test_a_base_amount_is_rounded_down() -> None:
    assert quantity_for(buy("0.001239"), D("60000"), RULES) == D("0.00123")


def test_an_entry_below_the_least_worth_is_refused_with_figures() -> None:
    with pytest.raises(OrderTooSmall, match=r"worth 4\.8 USDT, the least that can be ordered is 5 USDT"):
        quantity_for(spend("5"), D("60000"), RULES)


def test_an_entry_below_the_least_quantity_is_refused_with_figures() -> None:
    with pytest.raises(OrderTooSmall, match=r"0\.00001 BTC"):
        quantity_for(buy("0.000001"), D("60000"), RULES)


def test_an_entry_above_the_most_of_a_market_order_is_refused() -> None:
    with pytest.raises(OrderTooLarge, match="100 BTC"):
        quantity_for(buy("100.00001"), D("60000"), RULES)


def test_without_a_price_nothing_is_sized() -> None:
    with pytest.raises(InvalidInput):
        quantity_for(spend("100"), ZERO, RULES)


def test_a_share_of_what_the_account_is_worth() -> None:
    sizing = parse_sizing({"type": "equity_share", "share": "0.1"})
    assert quantity_for(sizing, D("50000"), RULES, lambda: D("10000")) == D("0.02")


def test_a_stop_at_its_distance_loses_the_risk() -> None:
    sizing = parse_sizing({"type": "risk_per_trade", "risk": "0.01", "stop_distance": "0.02"})
    quantity = quantity_for(sizing, D("50000"), RULES, lambda: D("10000"))
    assert quantity == D("0.1")
    assert quantity * D("50000") * D("0.02") == D("10000") * D("0.01")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"type": "equity_share", "share": "1"}, "share"),
        ({"type": "equity_share", "share": "0"}, "share"),
        ({"type": "equity_share"}, "share"),
        ({"type": "risk_per_trade", "risk": "0.01"}, "stop_distance"),
        ({"type": "risk_per_trade", "risk": 0.01, "stop_distance": "0.02"}, "risk"),
    ],
)
def test_bad_shares_are_named(raw: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_sizing(raw)
    assert list(caught.value.fields) == [field]


def rounded(quantity: str, price: str | None, side: Side = Side.BUY, type: OrderType = OrderType.LIMIT):  # type: ignore[no-untyped-def]
    return round_order(RULES, side, type, D(quantity), None if price is None else D(price))


def test_limit_prices_are_rounded_in_favour_of_who_asks() -> None:
    assert rounded("1", "60000.019", Side.BUY) == (D("1"), D("60000.01"))
    assert rounded("1", "60000.011", Side.SELL) == (D("1"), D("60000.02"))


WON = replace(
    RULES,
    price_step=D("0.01"),
    price_bands=((D(1_000_000), D(1000)), (D(100_000), D(50)), (D(10), D("0.1")), (D(0), D("0.01"))),
)


@pytest.mark.parametrize(
    ("price", "buys_at", "sells_at"),
    [
        ("89886543.21", "89886000", "89887000"),
        ("999999", "999950", "1000000"),
        ("100000", "100000", "100000"),
        ("99.97", "99.9", "100"),
        ("3.456", "3.45", "3.46"),
    ],
)
def test_limit_prices_take_the_step_of_their_band(price: str, buys_at: str, sells_at: str) -> None:
    many = D(100)
    assert round_order(WON, Side.BUY, OrderType.LIMIT, many, D(price))[1] == D(buys_at)
    assert round_order(WON, Side.SELL, OrderType.LIMIT, many, D(price))[1] == D(sells_at)


def test_a_price_on_the_step_stays() -> None:
    assert rounded("1", "60000.01", Side.SELL) == (D("1"), D("60000.01"))


@pytest.mark.parametrize(
    ("quantity", "price", "type", "field"),
    [
        ("1", None, OrderType.LIMIT, "price"),
        ("1", None, OrderType.POST_ONLY, "price"),
        ("1", "60000", OrderType.MARKET, "price"),
        ("1", "0", OrderType.LIMIT, "price"),
        ("1", "-5", OrderType.LIMIT, "price"),
        ("1", "0.009", OrderType.LIMIT, "price"),
        ("0", "60000", OrderType.LIMIT, "quantity"),
        ("-1", "60000", OrderType.LIMIT, "quantity"),
        ("0.000009", "60000", OrderType.LIMIT, "quantity"),
        ("9000.00001", "1", OrderType.LIMIT, "quantity"),
        ("100.00001", None, OrderType.MARKET, "quantity"),
        ("0.00008", "60000", OrderType.LIMIT, "quantity"),
    ],
)
def test_what_the_exchange_would_refuse_is_refused_by_its_name(
    quantity: str, price: str | None, type: OrderType, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        rounded(quantity, price, type=type)
    assert set(caught.value.fields) == {field}
    assert all(caught.value.fields[field])


def test_limit_orders_may_be_larger_than_market_orders() -> None:
    assert rounded("8999", "60000") == (D("8999"), D("60000"))


def test_a_market_order_is_measured_by_what_it_would_fill_at() -> None:
    with pytest.raises(OrderTooSmall):
        round_order(RULES, Side.BUY, OrderType.MARKET, D("0.00008"), None, reference_price=D("60000"))
    accepted = round_order(RULES, Side.BUY, OrderType.MARKET, D("0.00009"), None, reference_price=D("60000"))
    assert accepted == (D("0.00009"), None)


def test_a_worth_that_no_column_holds_is_refused() -> None:
    with pytest.raises(OrderTooLarge):
        round_order(FREE, Side.BUY, OrderType.LIMIT, D("1e15"), D("1e10"))


def test_a_symbol_without_filters_leaves_amounts_alone() -> None:
    assert round_order(FREE, Side.SELL, OrderType.LIMIT, D("1.23456"), D("0.7")) == (D("1.23456"), D("0.7"))


def test_dust_is_not_sellable() -> None:
    assert sellable(RULES, D("0.000009"), D("60000")) == 0
    assert sellable(RULES, D("0.00008"), D("60000")) == 0
    assert sellable(RULES, ZERO, D("60000")) == 0


def test_a_holding_is_sellable_down_to_the_step_and_up_to_the_most() -> None:
    assert sellable(RULES, D("0.001239"), D("60000")) == D("0.00123")
    assert sellable(RULES, D("250"), D("60000")) == 100


steps = st.sampled_from([D("0.00000001"), D("0.00001"), D("0.001"), D("0.05"), D("1"), D("25")])
# Of all magnitudes alike, so that both sides of every bound are met.
amounts = st.builds(lambda digits, exponent: D(digits).scaleb(exponent), st.integers(1, 10**6), st.integers(-8, 3))


def within(rules: SymbolRules, quantity: Decimal, price: Decimal, most: Decimal) -> bool:
    """Whether amounts on their steps are what the exchange takes."""
    return price > 0 and rules.min_quantity <= quantity <= most and quantity * price >= rules.min_notional


@given(quantity=amounts, price=amounts, quantity_step=steps, price_step=steps, side=st.sampled_from(Side))
def test_orders_are_rounded_to_the_steps_and_refused_only_outside_the_bounds(
    quantity: Decimal, price: Decimal, quantity_step: Decimal, price_step: Decimal, side: Side
) -> None:
    rules = replace(RULES, quantity_step=quantity_step, price_step=price_step)
    floor, beyond = quantity - quantity % quantity_step, price % price_step
    limit = price - beyond + (price_step if side == Side.SELL and beyond else 0)
    try:
        answer = round_order(rules, side, OrderType.LIMIT, quantity, price)
    except InvalidInput:
        assert not within(rules, floor, limit, rules.max_quantity)
    else:
        assert answer == (floor, limit)
        assert within(rules, floor, limit, rules.max_quantity)


@given(amount=amounts, price=amounts)
def test_an_entry_spends_its_amount_but_for_less_than_a_step(amount: Decimal, price: Decimal) -> None:
    step = RULES.quantity_step
    try:
        quantity = quantity_for(QuoteAmount(type="quote_amount", amount=amount), price, RULES)
    except InvalidInput:
        assert not within(RULES, amount // (price * step) * step, price, RULES.market_max_quantity)
    else:
        assert amount - step * price < quantity * price <= amount
        assert within(RULES, quantity, price, RULES.market_max_quantity)


@given(quantity=amounts, price=amounts)
def test_what_is_sellable_is_taken_as_a_market_order(quantity: Decimal, price: Decimal) -> None:
    fits = sellable(RULES, quantity, price)
    if fits:
        taken = round_order(RULES, Side.SELL, OrderType.MARKET, fits, None, reference_price=price)
        assert taken == (fits, None)
    else:
        with pytest.raises(InvalidInput):
            round_order(RULES, Side.SELL, OrderType.MARKET, min(quantity, D(100)), None, reference_price=price)
