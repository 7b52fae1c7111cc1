"""What every risk rule must keep to. A new file in risk/rules is tested by being there."""

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from connections.gateways import OrderType, Side
from risk.engine import Allow, Intent, RiskRule, RiskState, evaluate
from risk.policy import Limits
from risk.rules import rules

pytestmark = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.slug)

HOLDS_UP_EXITS = {"available_balance", "kill_switch"}
INTENT = Intent("BTC/USDT", "BTC", "USDT", Side.BUY, OrderType.MARKET, Decimal(2), Decimal(50), leverage=20)
CALM = RiskState(available=Decimal(1000), depth=[(Decimal(50), Decimal(1000))])
WORST = RiskState(
    available=Decimal(0),
    position_quantity=Decimal(9),
    position_worth=Decimal(450),
    pending_buy_quantity=Decimal(9),
    exposure=Decimal(900),
    realized_today=Decimal(-900),
    drawdown_today=Decimal(900),
    trades_today=99,
    open_orders=99,
    kill_switch="pressed",
)
STRICT = Limits(
    max_order_size=Decimal(1),
    max_position_size=Decimal(1),
    max_exposure=Decimal(1),
    max_daily_loss=Decimal(1),
    max_drawdown=Decimal(1),
    max_daily_trades=1,
    max_open_orders=1,
    symbols=["ETH/USDT"],
    max_leverage=1,
    max_slippage=Decimal("0.001"),
    max_depth_share=Decimal("0.1"),
    max_market_btc=Decimal("0.1"),
)


def test_slug_is_short_and_plain(rule: RiskRule) -> None:
    assert rule.slug.replace("_", "").isalpha()
    assert rule.slug == rule.slug.lower()
    assert len(rule.slug) <= 32


def test_entries_only_is_said(rule: RiskRule) -> None:
    assert rule.entries_only in (True, False)


def test_without_limits_and_trouble_it_allows(rule: RiskRule) -> None:
    assert rule.check(INTENT, CALM, Limits()) is None


def test_at_its_worst_it_denies_with_a_reason_that_fits_the_row(rule: RiskRule) -> None:
    reason = rule.check(INTENT, WORST, STRICT)
    assert reason
    assert len(reason) <= 250


def test_the_longest_figures_still_make_a_readable_reason(rule: RiskRule) -> None:
    huge = Decimal("12345678901234567890.123456789012345678")
    state = replace(
        WORST, available=-huge, position_worth=huge, exposure=huge, realized_today=-huge, drawdown_today=huge
    )
    reason = rule.check(replace(INTENT, quantity=huge), state, STRICT)
    assert reason
    assert len(reason) <= 250
    assert "E+" not in reason


def test_it_depends_on_nothing_but_its_arguments(rule: RiskRule) -> None:
    assert rule.check(INTENT, WORST, STRICT) == rule.check(INTENT, WORST, STRICT)


def test_every_limit_can_be_switched_off(rule: RiskRule) -> None:
    """With its limits unset a rule that guards a limit allows; only rules that guard facts may still deny."""
    unset = Limits(**{each.name: None for each in fields(Limits)})
    if rule.entries_only:
        assert rule.check(INTENT, WORST, unset) is None
    else:
        assert rule.check(INTENT, WORST, unset)


def test_exits_pass_it_unless_it_guards_a_fact(rule: RiskRule) -> None:
    """RSK-5: protective stops and exits pass every entry rule. What may hold them up is named above, nothing else."""
    sale = replace(INTENT, side=Side.SELL, is_exit=True)
    assert isinstance(evaluate(sale, WORST, STRICT, [rule]), Allow) == (rule.slug not in HOLDS_UP_EXITS)
    assert rule.entries_only == (rule.slug not in HOLDS_UP_EXITS)
