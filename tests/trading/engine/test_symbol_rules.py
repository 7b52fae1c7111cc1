"""What an exchange takes may change while an engine runs: orders are rounded by what holds now."""

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from connections.gateways import SymbolRules, Unreachable
from connections.models import Connection
from desproject.lib.money import ZERO
from trading.engine.desk import Desk
from trading.engine.state import Account

SYMBOL = "BTC/USDT"
RULES = SymbolRules(SYMBOL, "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), ZERO, Decimal(5))


class _Gateway:
    def __init__(self) -> None:
        self.tells: SymbolRules | Exception = RULES

    async def rules(self, symbol: str) -> SymbolRules:
        if isinstance(self.tells, Exception):
            raise self.tells
        return self.tells


class _World:
    def __init__(self) -> None:
        self.gateway, self.account = _Gateway(), Account(Connection())

    async def rules(self) -> SymbolRules:
        async def lent(*_: Any) -> _Gateway:
            return self.gateway

        desk: Any = SimpleNamespace(gateway=lent)
        return await Desk.symbol_rules(desk, None, self.account, SYMBOL)  # type: ignore[arg-type]


async def test_filters_that_the_exchange_changed_hold_from_the_next_order_on() -> None:
    world = _World()
    assert await world.rules() == RULES
    world.gateway.tells = changed = replace(RULES, quantity_step=Decimal("0.1"))
    assert await world.rules() == changed


async def test_an_exchange_that_cannot_be_asked_leaves_those_known_before() -> None:
    world = _World()
    await world.rules()
    world.gateway.tells = Unreachable("away")
    assert await world.rules() == RULES


async def test_without_any_that_are_known_nothing_is_guessed() -> None:
    world = _World()
    world.gateway.tells = Unreachable("away")
    with pytest.raises(Unreachable):
        await world.rules()
