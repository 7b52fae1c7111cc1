"""An answer that can't be read, or doesn't come, while an order is being decided on, delays it and ends it not."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest

from connections.gateways import GatewayError, KeyRefused, UnexpectedShape
from connections.models import Connection
from desproject.lib.clock import ManualClock
from trading.engine import decisions, denying, planning
from trading.engine.state import Account, TenantState
from trading.engine.tenant import Tenant
from trading.models import Order

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "denied"), [(UnexpectedShape("an HTML page"), []), (KeyRefused("wrong key"), [KeyRefused.code])]
)
async def test_a_triggered_stop_waits_where_the_exchange_answered_with_nonsense(
    monkeypatch: pytest.MonkeyPatch, error: GatewayError, denied: list[str]
) -> None:
    async def fails(*_: Any) -> Any:
        raise error

    codes: list[str] = []

    async def deny(desk: Any, tenant: Any, account: Any, order: Order, code: str, reason: str) -> None:
        codes.append(code)

    monkeypatch.setattr(planning, "plan_for_order", fails)
    monkeypatch.setattr(denying, "deny_order", deny)
    await decide(Account(Connection(id=uuid4()), is_known=True))
    assert codes == denied


async def test_an_exchange_that_has_told_nothing_of_the_account_isnt_asked_for_each_of_its_orders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans = AsyncMock(side_effect=UnexpectedShape("an HTML page"))
    monkeypatch.setattr(planning, "plan_for_order", plans)
    await decide(Account(Connection(id=uuid4())))
    assert plans.await_count == 0


async def decide(account: Account) -> None:
    """Decides on a stop of the account that was triggered."""

    async def never(_: Any) -> TenantState:
        raise AssertionError("nothing was to be reloaded")

    tenant = Tenant(TenantState(uuid4(), {account.connection.pk: account}), 0, 1, never)
    desk: Any = SimpleNamespace(clock=ManualClock(NOW))
    order = Order(
        user_id=tenant.user_id, connection_id=account.connection.pk, type="stop_loss", side="sell",
        time_in_force="gtc", status="new", created_at=NOW, triggered_at=NOW,
    )  # fmt: skip
    await decisions.on_new_order(desk, tenant, order.pk, order)
