"""Arbitrage through a real engine, real streams and two simulated exchanges (ARB-1 to ARB-5)."""

from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from audit.models import AuditLog
from connections import database
from connections.simulator.matching import Side
from tests.trading.engine.api_desk import get
from tests.trading.engine.arbitrage_desk import CHEAP, DEAR, FEE, MARKET, RICH, PairDesk, arbitrage
from tests.trading.engine.harness import until
from trading.engine import pair_orders

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]
# One fire is enough for a test.
ONCE = {"pause_seconds": 3600}
SIZE = Decimal("0.01")
BUY, SELL = Decimal(CHEAP + 1000), Decimal(DEAR - 1000)


async def events(pair: PairDesk) -> list[str]:
    rows = await pair.desk.rows(AuditLog)
    return [row.event_type for row in rows if row.event_type.startswith("arbitrage.")]


def thin_out(pair: PairDesk, left: str) -> None:
    """Takes what Bithumb bids away but for one level, and says so to nobody."""
    book = pair.desk.simulator.server.won["bithumb"].exchange.markets[MARKET].book
    for step in range(1, 13):
        book.quote(Side.BUY, Decimal(DEAR - 1000 * step), Decimal(left if step == 1 else 0))


async def test_a_planted_edge_wins_what_was_computed_to_the_last_won(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with arbitrage(alice, monkeypatch) as pair:
        await pair.create(params=ONCE)
        won, coins = await pair.held("KRW"), await pair.held("BTC")
        pair.uneven()
        await pair.start()
        (fire,) = await pair.settled()
        gained = await pair.held("KRW") - won
        assert await pair.held("BTC") == coins
        assert await events(pair) == ["arbitrage.settled"]
    computed = SIZE * (SELL * (1 - FEE) - BUY * (1 + FEE))
    assert abs(gained - computed) < 1
    assert Decimal(fire["expected_profit"]) == computed
    assert abs(Decimal(fire["profit"]) - gained) < Decimal("0.0001")
    assert [leg["role"] for leg in fire["legs"]] == ["buy", "sell"]
    assert (fire["exposed_seconds"], fire["exposure_cost"]) == (None, "0")


@pytest.mark.parametrize(("path", "hedge"), [("/v2/orders", "sell"), ("/v1/orders", "buy")])
async def test_a_leg_that_fails_is_hedged_on_the_side_that_was_filled(
    alice: User, monkeypatch: pytest.MonkeyPatch, path: str, hedge: str
) -> None:
    """Bithumb refuses the sale, or Upbit the purchase."""
    async with arbitrage(alice, monkeypatch) as pair:
        await pair.create(params=ONCE)
        won, coins = await pair.held("KRW"), await pair.held("BTC")
        await pair.desk.simulator.fault("http_error", method="POST", path=path, status=429, count=1)
        pair.uneven()
        await pair.start()
        (fire,) = await pair.settled()
        lost = won - await pair.held("KRW")
        assert await pair.held("BTC") == coins
        counted = (await pair.desk.simulator.counters())["faults"]
        assert await events(pair) == ["arbitrage.exposed", "arbitrage.settled"]
    assert counted == {"http_error": 1}
    assert [(leg["role"], leg["side"]) for leg in fire["legs"]][2:] == [("hedge", hedge)]
    assert Decimal(fire["exposed_quantity"]) == (SIZE if hedge == "sell" else -SIZE)
    assert fire["exposed_seconds"] > 0
    # Bought and sold again on the same book: both fees and the spread.
    assert Decimal(fire["exposure_cost"]) == -Decimal(fire["profit"]) > 0
    assert abs(lost - Decimal(fire["exposure_cost"])) < Decimal("0.0001")


@pytest.mark.database("embedded", reason="the same on any database")
@pytest.mark.system
@pytest.mark.parametrize("left", ["0.004", "0.00997"])
async def test_a_leg_that_fills_in_part_is_evened_out_to_the_last_unit(
    alice: User, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """What is left is sold where it was bought; 0.00003 BTC are less than any order may be, and go nevertheless."""
    async with arbitrage(alice, monkeypatch) as pair:
        await pair.create(params=ONCE)
        coins = await pair.held("BTC")
        pair.uneven()
        # Before the engine sees the edge, the exchange has less than it said.
        monkeypatch.setattr(pair_orders, "place_legs", _thinned(pair, left))
        await pair.start()
        (fire,) = await pair.settled()
        assert await pair.held("BTC") == coins
    assert Decimal(fire["exposed_quantity"]) == SIZE - Decimal(left)
    roles = [leg["role"] for leg in fire["legs"]]
    assert roles == ["buy", "sell", "hedge"] + ([] if left == "0.004" else ["hedge"])


def _thinned(pair: PairDesk, left: str) -> Any:
    """Placing legs, once the book has been thinned out between the decision and the wire."""
    real = pair_orders.place_legs

    async def place(*args: Any, **named: Any) -> Any:
        if len(args[2]) == 2:
            thin_out(pair, left)
        return await real(*args, **named)

    return place


@pytest.mark.database("embedded", reason="the same on any database")
@pytest.mark.system
async def test_a_leg_whose_answer_got_lost_is_asked_for_and_not_hedged(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with arbitrage(alice, monkeypatch) as pair:
        await pair.create(params=ONCE)
        await pair.desk.simulator.fault("accept_then_timeout", method="POST", path="/v2/orders", count=1)
        pair.uneven()
        await pair.start()
        (fire,) = await pair.settled()
    assert [leg["status"] for leg in fire["legs"]] == ["filled", "filled"]
    assert Decimal(fire["profit"]) > 0


async def test_a_low_balance_makes_it_small_and_then_stops_it_with_a_word(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with arbitrage(alice, monkeypatch, second={"KRW": "1000", "BTC": "0.004"}) as pair:
        await pair.create()
        pair.uneven()
        await pair.start()

        async def is_paused() -> bool:
            return bool((await pair.told())["status"] == "paused")

        await until(is_paused)
        told, (fire,) = await pair.told(), await pair.fires()
        assert await events(pair) == ["arbitrage.settled", "arbitrage.balance_low"]
    assert Decimal(fire["quantity"]) == Decimal("0.004")
    assert "too little BTC on other" in told["status_reason"]


async def test_nothing_fires_while_the_books_agree_or_the_switch_is_pressed(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with arbitrage(alice, monkeypatch) as pair:
        await pair.create()
        await pair.start()
        await pair.desk.post("/api/kill-switch", level="connection", id=pair.second, reason="a test")
        pair.uneven()

        async def is_denied() -> bool:
            signals = await database.run(get, pair.desk.client, "/api/signals")
            return bool(signals["results"])

        await until(is_denied)
        signals = (await database.run(get, pair.desk.client, "/api/signals"))["results"]
        assert await pair.fires() == []
        ledgers = await pair.ledgers()
    assert {signal["decision"] for signal in signals} == {"denied"}
    assert all(ledger["orders"] == [] for ledger in ledgers)
    assert RICH["BTC"] == ledgers[0]["balances"]["BTC"]["free"]
