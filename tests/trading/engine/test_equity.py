"""A point each minute, account and quote asset, once, whoever owns the account."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from accounts.tenancy import everyone
from connections import database
from tests.trading.engine.harness import Bench, running_bench, until
from trading.engine.equity import EquityLine
from trading.models import EquityPoint

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.fixture
async def bench(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with running_bench(monkeypatch) as running:
        yield running


def _stored(at: datetime) -> list[tuple[Any, ...]]:
    with everyone():
        rows = EquityPoint.objects.filter(at=at).order_by("connection__name", "asset")
        return [(row.user_id, row.asset, row.value) for row in rows]


async def stored(at: datetime = MINUTE) -> list[tuple[Any, ...]]:
    return await database.run(_stored, at)


async def known(bench: Bench, user: User) -> EquityLine:
    """The line, as soon as the engine knows what the user's account holds."""

    async def is_known() -> bool:
        tenant = bench.engine.tenants.get(user.pk)
        return tenant is not None and all(account.is_known for account in tenant.state.accounts.values())

    await until(is_known)
    return EquityLine(bench.engine.desk, bench.engine.tenants)


async def test_an_account_is_worth_what_its_assets_could_be_sold_for(bench: Bench, alice: User) -> None:
    await bench.bind(alice, USDT="1000.5", BTC="2", ETH="3")
    line = await known(bench, alice)
    await line.write(MINUTE)
    assert await stored() == [(alice.pk, "USDT", Decimal("1000.5"))], "assets without a price count nothing"
    await bench.quote("50000", "50010")

    async def is_quoted() -> bool:
        return bool(bench.engine.desk.quotes)

    await until(is_quoted)
    await line.write(MINUTE + timedelta(minutes=1))
    assert await stored(MINUTE + timedelta(minutes=1)) == [(alice.pk, "USDT", Decimal("101000.5"))]
    bench.engine.desk.quotes.clear()  # the feed went away: the last price known counts on
    await line.write(MINUTE + timedelta(minutes=2))
    assert await stored(MINUTE + timedelta(minutes=2)) == [(alice.pk, "USDT", Decimal("101000.5"))]


async def test_a_minute_is_written_once_also_by_the_next_owner(bench: Bench, alice: User) -> None:
    await bench.bind(alice, USDT="1000")
    line = await known(bench, alice)
    await line.write(MINUTE)
    tenant = bench.engine.tenants[alice.pk]
    (account,) = tenant.state.accounts.values()
    account.balances["USDT"].total = Decimal(5)
    await EquityLine(bench.engine.desk, bench.engine.tenants).write(MINUTE)
    assert await stored() == [(alice.pk, "USDT", Decimal(1000))]


async def test_an_account_that_was_not_asked_yet_has_no_point(bench: Bench, alice: User) -> None:
    await bench.bind(alice, USDT="1000")
    line = await known(bench, alice)
    (account,) = bench.engine.tenants[alice.pk].state.accounts.values()
    account.is_known = False
    await line.write(MINUTE)
    assert await stored() == []


async def test_the_engine_writes_by_itself(bench: Bench, alice: User, bob: User) -> None:
    await bench.bind(alice, USDT="1000")
    await bench.bind(bob, USDT="7")
    await known(bench, bob)

    def count() -> int:
        with everyone():
            return len(set(EquityPoint.objects.values_list("user", flat=True)))

    async def are_written() -> bool:
        return await database.run(count) == 2

    await until(are_written)
