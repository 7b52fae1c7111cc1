"""What a market order may do to the book: the estimate, and the rules that judge by it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.gateways import OrderType, Side
from desproject.lib.money import exact
from risk.depth import safe_quantity, slippage, total
from risk.engine import Allow, Denial, Intent, RiskState, evaluate
from risk.policy import GLOBAL_LIMITS, Limits
from risk.rules import rules

D = Decimal
ASKS = [(D(100), D(1)), (D(101), D(2)), (D(110), D(1))]
BIDS = [(D(100), D(1)), (D(99), D(2)), (D(90), D(1))]
BUY = Intent("BTC/USDT", "BTC", "USDT", Side.BUY, OrderType.MARKET, D("0.1"), D(100))
STATE = RiskState(available=D(10**9), depth=[(D(100), D(1))])


def verdict(intent: Intent, limits: Limits, state: RiskState = STATE) -> str:
    answer = evaluate(intent, state, limits, rules())
    return answer.rule if isinstance(answer, Denial) else "allow"


@pytest.mark.parametrize("levels", [ASKS, BIDS])
def test_slippage_is_how_much_worse_the_average_is_than_the_best(levels: list[tuple[Decimal, Decimal]]) -> None:
    assert slippage(levels, D(1)) == 0
    assert slippage(levels, D(2)) == D("0.005")
    assert slippage(levels, D(4)) == D("0.03")
    assert slippage(levels, D("4.0001")) is None


@pytest.mark.parametrize("levels", [ASKS, BIDS])
def test_the_safe_quantity_slips_exactly_as_far_as_allowed(levels: list[tuple[Decimal, Decimal]]) -> None:
    assert safe_quantity(levels, D("0.005")) == 2
    assert safe_quantity(levels, D(0)) == 1
    assert safe_quantity(levels, D("0.5")) == 4
    assert safe_quantity([], D("0.5")) == 0


books = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 1000)), min_size=1, max_size=10).map(
    lambda rows: [(D(1000 + sum(step for step, _ in rows[: n + 1])), D(size)) for n, (_, size) in enumerate(rows)]
)


@given(levels=books, most=st.integers(0, 500).map(lambda units: D(units).scaleb(-4)))
def test_no_more_than_the_safe_quantity_stays_within_the_limit(
    levels: list[tuple[Decimal, Decimal]], most: Decimal
) -> None:
    with exact():
        safe = safe_quantity(levels, most)
        within = slippage(levels, safe.quantize(D("1e-18"), rounding="ROUND_DOWN"))
        assert within is not None
        assert within <= most + D("1e-30")
        beyond = slippage(levels, safe + D("1e-12"))
        assert beyond is None or beyond > most
        assert safe <= total(levels)


@pytest.mark.parametrize(
    ("quantity", "limits", "rule"),
    [
        ("0.1", GLOBAL_LIMITS, "allow"),
        ("0.10000001", GLOBAL_LIMITS, "depth"),
        ("0.10000001", replace(GLOBAL_LIMITS, max_depth_share=D(1)), "market_size"),
        ("0.5", Limits(max_depth_share=D("0.5")), "allow"),
        ("1", Limits(max_slippage=D("0.001")), "allow"),
        ("1.00000001", Limits(max_slippage=D("0.001")), "slippage"),
    ],
)
def test_a_market_order_at_the_bound(quantity: str, limits: Limits, rule: str) -> None:
    assert verdict(replace(BUY, quantity=D(quantity)), limits) == rule


def test_without_a_book_to_be_trusted_nothing_is_entered_at_market() -> None:
    blind = replace(STATE, depth=())
    assert verdict(BUY, GLOBAL_LIMITS, blind) == "depth"
    assert verdict(replace(BUY, type=OrderType.LIMIT), GLOBAL_LIMITS, blind) == "allow"


@pytest.mark.parametrize(("type", "is_exit"), [(OrderType.LIMIT, False), (OrderType.MARKET, True)])
def test_limit_orders_and_exits_may_be_larger(type: OrderType, is_exit: bool) -> None:
    huge = replace(BUY, quantity=D(50), type=type, is_exit=is_exit)
    assert verdict(huge, GLOBAL_LIMITS) == "allow"


def test_other_coins_are_worth_what_a_bitcoin_costs() -> None:
    ether = replace(BUY, symbol="ETH/USDT", base="ETH", quantity=D(2), reference_price=D(5_000))
    only = Limits(max_market_btc=D("0.1"))
    assert verdict(ether, only, replace(STATE, bitcoin_price=D(100_000))) == "allow"
    assert verdict(ether, only, replace(STATE, bitcoin_price=D(99_999))) == "market_size"
    assert verdict(ether, only) == "allow"


def test_the_reason_tells_how_much_would_be_safe() -> None:
    state = replace(STATE, depth=[(D(100), D("0.05")), (D(102), D(1))])
    answer = evaluate(BUY, state, Limits(max_slippage=D("0.001")), rules())
    assert isinstance(answer, Denial)
    assert answer.reason == "the order would slip by 1 %, the limit is 0.1 %: up to 0.05263157 BTC stay within it"
    safe = replace(BUY, quantity=D("0.05263157"))
    assert isinstance(evaluate(safe, state, Limits(max_slippage=D("0.001")), rules()), Allow)
