"""Each rule at, below and above its bound."""

from dataclasses import replace
from decimal import Decimal

import pytest

from connections.gateways import OrderType, Side
from risk.engine import Allow, Denial, Intent, RiskState, evaluate, ordered
from risk.policy import Limits
from risk.rules import rules

D = Decimal
BUY = Intent("BTC/USDT", "BTC", "USDT", Side.BUY, OrderType.LIMIT, D("2"), D("50"), leverage=10)
SELL = replace(BUY, side=Side.SELL)
RICH = RiskState(available=D(10**9))


def verdict(intent: Intent, state: RiskState, limits: Limits) -> str:
    """The slug of the rule that denied, or ``allow``."""
    answer = evaluate(intent, state, limits, rules())
    return answer.rule if isinstance(answer, Denial) else "allow"


# Each: the state, the limits, and whether a purchase worth 100 passes.
BOUNDS = [
    ("available_balance", replace(RICH, available=D("100.01")), Limits(), True),
    ("available_balance", replace(RICH, available=D("100")), Limits(), True),
    ("available_balance", replace(RICH, available=D("99.99")), Limits(), False),
    ("order_size", RICH, Limits(max_order_size=D("100.01")), True),
    ("order_size", RICH, Limits(max_order_size=D("100")), True),
    ("order_size", RICH, Limits(max_order_size=D("99.99")), False),
    ("order_size", RICH, Limits(max_order_size=D(0)), False),
    ("position_size", RICH, Limits(max_position_size=D("99.99")), False),
    ("position_size", replace(RICH, position_worth=D("60")), Limits(max_position_size=D("160")), True),
    ("position_size", replace(RICH, position_worth=D("60.01")), Limits(max_position_size=D("160")), False),
    ("position_size", replace(RICH, pending_buy_quantity=D("1")), Limits(max_position_size=D("150")), True),
    ("position_size", replace(RICH, pending_buy_quantity=D("1")), Limits(max_position_size=D("149.99")), False),
    ("exposure", replace(RICH, exposure=D("900")), Limits(max_exposure=D("1000.01")), True),
    ("exposure", replace(RICH, exposure=D("900")), Limits(max_exposure=D("1000")), True),
    ("exposure", replace(RICH, exposure=D("900")), Limits(max_exposure=D("999.99")), False),
    ("daily_loss", replace(RICH, realized_today=D("-49.99")), Limits(max_daily_loss=D("50")), True),
    ("daily_loss", replace(RICH, realized_today=D("-50")), Limits(max_daily_loss=D("50")), False),
    ("daily_loss", replace(RICH, realized_today=D("-50.01")), Limits(max_daily_loss=D("50")), False),
    ("daily_loss", replace(RICH, realized_today=D("500")), Limits(max_daily_loss=D("50")), True),
    ("daily_loss", RICH, Limits(max_daily_loss=D(0)), True),
    ("daily_loss", replace(RICH, realized_today=D("-0.01")), Limits(max_daily_loss=D(0)), False),
    ("drawdown", replace(RICH, drawdown_today=D("49.99")), Limits(max_drawdown=D("50")), True),
    ("drawdown", replace(RICH, drawdown_today=D("50")), Limits(max_drawdown=D("50")), False),
    ("drawdown", RICH, Limits(max_drawdown=D(0)), True),
    ("drawdown", replace(RICH, drawdown_today=D("0.01")), Limits(max_drawdown=D(0)), False),
    ("daily_trades", replace(RICH, trades_today=9), Limits(max_daily_trades=10), True),
    ("daily_trades", replace(RICH, trades_today=10), Limits(max_daily_trades=10), False),
    ("daily_trades", replace(RICH, trades_today=7, open_orders=3), Limits(max_daily_trades=10), False),
    ("daily_trades", RICH, Limits(max_daily_trades=0), False),
    ("symbols", RICH, Limits(symbols=["ETH/USDT", "BTC/USDT"]), True),
    ("symbols", RICH, Limits(symbols=["ETH/USDT", "BTC/USDC"]), False),
    ("symbols", RICH, Limits(symbols=[]), False),
    ("open_orders", replace(RICH, open_orders=3), Limits(max_open_orders=5), True),
    ("open_orders", replace(RICH, open_orders=4), Limits(max_open_orders=5), True),
    ("open_orders", replace(RICH, open_orders=5), Limits(max_open_orders=5), False),
    ("leverage", RICH, Limits(max_leverage=10), True),
    ("leverage", RICH, Limits(max_leverage=9), False),
    ("kill_switch", RICH, Limits(), True),
    ("kill_switch", replace(RICH, kill_switch="user kill switch: test"), Limits(), False),
]


@pytest.mark.parametrize(("slug", "state", "limits", "passes"), BOUNDS)
def test_a_purchase_at_the_bound(slug: str, state: RiskState, limits: Limits, passes: bool) -> None:
    assert verdict(BUY, state, limits) == ("allow" if passes else slug)


@pytest.mark.parametrize(("slug", "state", "limits", "passes"), [each for each in BOUNDS if not each[3]])
def test_an_exit_passes_every_entry_rule(slug: str, state: RiskState, limits: Limits, passes: bool) -> None:
    guards_facts = slug in ("available_balance", "kill_switch")
    assert verdict(replace(BUY, is_exit=True), state, limits) == (slug if guards_facts else "allow")


@pytest.mark.parametrize(("available", "passes"), [("2", True), ("1.99999999", False)])
def test_a_sale_needs_the_base_asset(available: str, passes: bool) -> None:
    state = RiskState(available=D(available))
    assert verdict(SELL, state, Limits()) == ("allow" if passes else "available_balance")


@pytest.mark.parametrize("limits", [Limits(max_position_size=D(1)), Limits(max_exposure=D(1))])
def test_a_sale_is_not_held_up_by_what_limits_buying(limits: Limits) -> None:
    assert verdict(SELL, replace(RICH, position_worth=D(500), exposure=D(500)), limits) == "allow"


def test_no_limit_allows_any_size() -> None:
    state = RiskState(
        D(10) ** 18, position_worth=D(10) ** 17, exposure=D(10) ** 17, realized_today=-(D(10) ** 17), open_orders=10**6
    )
    assert isinstance(evaluate(replace(BUY, quantity=D(10) ** 15), state, Limits(), rules()), Allow)


@pytest.mark.parametrize(
    ("state", "limits", "reason"),
    [
        (replace(RICH, available=D("99.5")), Limits(), "needs 100 USDT, available are 99.5 USDT"),
        (RICH, Limits(max_order_size=D("75.50")), "the order is worth 100 USDT, the limit is 75.5 USDT"),
        (
            replace(RICH, position_worth=D(60)),
            Limits(max_position_size=D(150)),
            "the position would be worth 160 USDT with open orders, the limit is 150 USDT",
        ),
        (
            replace(RICH, exposure=D(60)),
            Limits(max_exposure=D(150)),
            "the exposure would be 160 USDT, the limit is 150 USDT",
        ),
        (
            replace(RICH, realized_today=D("-51.25")),
            Limits(max_daily_loss=D(50)),
            "today's loss is 51.25 USDT, the limit is 50 USDT",
        ),
        (replace(RICH, open_orders=5), Limits(max_open_orders=5), "5 orders are open, the limit is 5"),
        (
            replace(RICH, drawdown_today=D("51.25")),
            Limits(max_drawdown=D(50)),
            "today's result fell by 51.25 USDT from its highest, the limit is 50 USDT",
        ),
        (
            replace(RICH, trades_today=2, open_orders=1),
            Limits(max_daily_trades=3),
            "3 trades today with open orders, the limit is 3",
        ),
        (RICH, Limits(max_leverage=5), "the leverage of BTC/USDT is 10, the limit is 5"),
        (RICH, Limits(symbols=[]), "BTC/USDT isn't among the allowed symbols: none"),
        (
            RICH,
            Limits(symbols=["F/X", "E/X", "D/X", "C/X", "B/X", "A/X"]),
            "BTC/USDT isn't among the allowed symbols: A/X, B/X, C/X, D/X, E/X and 1 more",
        ),
        (replace(RICH, kill_switch="user kill switch: drill"), Limits(), "user kill switch: drill"),
    ],
)
def test_reasons_tell_the_figures(state: RiskState, limits: Limits, reason: str) -> None:
    answer = evaluate(BUY, state, limits, rules())
    assert isinstance(answer, Denial)
    assert answer.reason == reason


def test_the_kill_switch_is_asked_first() -> None:
    state = RiskState(available=D(0), open_orders=10, kill_switch="pressed")
    assert verdict(BUY, state, Limits(max_open_orders=1)) == "kill_switch"


def test_notional_is_exact_for_amounts_of_any_length() -> None:
    intent = replace(BUY, quantity=D("12345678901234567.123456789012345678"), reference_price=D("1.000000000000000001"))
    assert intent.notional == D("12345678901234567.135802467913580245123456789012345678")


def test_order_of_rules_does_not_depend_on_files() -> None:
    slugs = [rule.slug for rule in rules()]
    assert slugs == ["kill_switch", *sorted(set(slugs) - {"kill_switch"})]
    assert [rule.slug for rule in ordered({rule.slug: rule for rule in reversed(rules())})] == slugs
