"""Money on the simulated exchange: nothing appears, nothing vanishes, nothing goes below zero."""

from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.simulator.accounts import Account, InsufficientBalance
from connections.simulator.exchange import DuplicateOrder, Exchange, Ticket, WouldTrigger
from connections.simulator.instruments import INSTRUMENTS
from connections.simulator.matching import Order, OrderStatus, OrderType, Side, TimeInForce, WouldTake
from connections.simulator.tape import Tape

NOW = 1_800_000_000_000
ETHBTC = INSTRUMENTS["ETHBTC"]
ZERO, ONE = Decimal(0), Decimal(1)


def make_exchange() -> tuple[Exchange, list[Account]]:
    exchange = Exchange(lambda: NOW)
    exchange.list_market(ETHBTC, Tape.blank("ETHBTC", Decimal("0.05"), NOW))
    accounts = [Account(name, uid) for uid, name in enumerate(("alice", "bob", "charlie"))]
    for account in accounts:
        exchange.bank.add(account)
        exchange.transfer(account, "ETH", Decimal(20))
        exchange.transfer(account, "BTC", Decimal(1))
    return exchange, accounts


def ticket(side: Side, quantity: str, price: str | None = None, client_id: str = "one", **more: object) -> Ticket:
    kind = OrderType.LIMIT if price else OrderType.MARKET
    fields = {"type": kind, "price": Decimal(price) if price else None, **more}
    return Ticket("ETHBTC", side, quantity=Decimal(quantity), client_order_id=client_id, **fields)  # type: ignore[arg-type]


def free(account: Account, asset: str) -> Decimal:
    return account.balances[asset].free


def locked(account: Account, asset: str) -> Decimal:
    return account.balances[asset].locked


def test_a_resting_buy_locks_its_notional_and_a_cancel_frees_it() -> None:
    exchange, (alice, *_) = make_exchange()
    order = exchange.place(alice, ticket(Side.BUY, "2", "0.04"))
    assert (free(alice, "BTC"), locked(alice, "BTC")) == (Decimal("0.92"), Decimal("0.08"))
    exchange.cancel(alice, order, "cancel-1")
    assert (free(alice, "BTC"), locked(alice, "BTC")) == (ONE, ZERO)
    assert alice.open_orders == {}


def test_both_sides_pay_their_fee_in_what_they_receive() -> None:
    exchange, (alice, bob, _) = make_exchange()
    exchange.place(alice, ticket(Side.SELL, "2", "0.05"))
    exchange.place(bob, ticket(Side.BUY, "2", "0.06"))
    assert (free(alice, "ETH"), free(alice, "BTC")) == (Decimal(18), Decimal("1.0999"))
    assert (free(bob, "ETH"), free(bob, "BTC"), locked(bob, "BTC")) == (Decimal("21.998"), Decimal("0.9"), ZERO)
    assert dict(exchange.bank.fees) == {"ETH": Decimal("0.002"), "BTC": Decimal("0.0001")}
    assert [fill.is_maker for fill in alice.fills + bob.fills] == [True, False]


def test_an_order_beyond_the_free_balance_leaves_no_trace() -> None:
    exchange, (alice, *_) = make_exchange()
    with pytest.raises(InsufficientBalance):
        exchange.place(alice, ticket(Side.SELL, "20.0001", "0.05"))
    assert (alice.orders, free(alice, "ETH"), exchange.orders_placed) == ({}, Decimal(20), 0)


def test_a_market_buy_is_refused_when_the_book_costs_more_than_there_is() -> None:
    exchange, (alice, bob, _) = make_exchange()
    exchange.place(alice, ticket(Side.SELL, "20", "0.06"))
    with pytest.raises(InsufficientBalance):
        exchange.place(bob, ticket(Side.BUY, "20"))
    assert free(bob, "BTC") == 1


def test_a_client_id_is_free_again_when_its_order_has_ended() -> None:
    exchange, (alice, *_) = make_exchange()
    order = exchange.place(alice, ticket(Side.BUY, "1", "0.04"))
    with pytest.raises(DuplicateOrder):
        exchange.place(alice, ticket(Side.BUY, "1", "0.03"))
    exchange.cancel(alice, order, "c")
    assert exchange.place(alice, ticket(Side.BUY, "1", "0.03")).status is OrderStatus.NEW


def test_a_stop_waits_for_its_price_then_sells_into_the_book() -> None:
    exchange, (alice, bob, charlie) = make_exchange()
    exchange.place(bob, ticket(Side.BUY, "1", "0.045"))
    exchange.place(bob, ticket(Side.BUY, "1", "0.044", "two"))
    stop = exchange.place(
        alice, ticket(Side.SELL, "1", type=OrderType.STOP_LOSS, stop_price=Decimal("0.046"), client_id="stop")
    )
    assert (stop.status, locked(alice, "ETH")) == (OrderStatus.NEW, ONE)
    exchange.place(charlie, ticket(Side.SELL, "1"))
    assert (stop.status, stop.quote_executed) == (OrderStatus.FILLED, Decimal("0.044"))
    assert locked(alice, "ETH") == 0


def test_a_stop_already_reached_is_refused() -> None:
    exchange, (alice, *_) = make_exchange()
    with pytest.raises(WouldTrigger):
        exchange.place(alice, ticket(Side.SELL, "1", type=OrderType.STOP_LOSS, stop_price=Decimal("0.05")))


def test_a_triggered_market_buy_that_became_too_dear_expires_and_frees_its_money() -> None:
    exchange, (alice, bob, charlie) = make_exchange()
    stop = exchange.place(
        alice, ticket(Side.BUY, "15", type=OrderType.STOP_LOSS, stop_price=Decimal("0.06"), client_id="stop")
    )
    exchange.place(bob, ticket(Side.SELL, "1", "0.06"))
    exchange.place(bob, ticket(Side.SELL, "19", "0.2", "two"))
    exchange.place(charlie, ticket(Side.BUY, "1"))
    assert (stop.status, stop.executed) == (OrderStatus.EXPIRED, ZERO)
    assert (free(alice, "BTC"), locked(alice, "BTC")) == (ONE, ZERO)


# properties

_TICKETS = st.builds(
    lambda side, kind, lots, ticks, force, who: (who, side, kind, lots, ticks, force),
    st.sampled_from(Side),
    st.sampled_from(["limit", "limit", "market", "budget", "maker", "stop", "stop_limit", "cancel", "house"]),
    st.integers(1, 150_000),
    st.integers(4_500, 5_500),
    st.sampled_from(TimeInForce),
    st.integers(0, 2),
)
_Action = tuple[int, Side, str, int, int, TimeInForce]
_KINDS = {
    "limit": OrderType.LIMIT,
    "maker": OrderType.LIMIT_MAKER,
    "stop": OrderType.STOP_LOSS,
    "stop_limit": OrderType.STOP_LOSS_LIMIT,
}


def _ticket_of(action: _Action, number: int) -> Ticket:
    _, side, kind, lots, ticks, force = action
    quantity, price = ETHBTC.lot * lots, ETHBTC.tick * ticks
    is_limit = kind in ("limit", "maker", "stop_limit")
    return Ticket(
        "ETHBTC",
        side,
        _KINDS.get(kind, OrderType.MARKET),
        Decimal(0) if kind == "budget" else quantity,
        f"id-{number}",
        price if is_limit else None,
        force if kind in ("limit", "stop_limit") else TimeInForce.GTC,
        (quantity * price).quantize(Decimal("1e-8")) if kind == "budget" else None,
        price if kind.startswith("stop") else None,
    )


def _act(exchange: Exchange, account: Account, action: _Action, number: int) -> None:
    _, side, kind, lots, ticks, _ = action
    if kind == "house":
        exchange.quote("ETHBTC", [(side, ETHBTC.tick * ticks, ETHBTC.lot * lots)])
    elif kind == "cancel":
        for order in list(account.open_orders.values())[:1]:
            exchange.cancel(account, order, "c")
    else:
        try:
            exchange.place(account, _ticket_of(action, number))
        except (InsufficientBalance, WouldTake, WouldTrigger):
            return


def _totals(exchange: Exchange) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for account in exchange.bank.accounts.values():
        for asset, balance in account.balances.items():
            totals[asset] += balance.free + balance.locked
    for pot in (exchange.bank.fees, exchange.bank.house):
        for asset, amount in pot.items():
            totals[asset] += amount
    return totals


@given(st.lists(_TICKETS, max_size=40))
def test_money_is_conserved_and_locks_are_those_of_the_open_orders(actions: list[_Action]) -> None:
    exchange, accounts = make_exchange()
    for number, action in enumerate(actions):
        _act(exchange, accounts[action[0]], action, number)
        assert _totals(exchange) == {"ETH": 60, "BTC": 3}
        for account in accounts:
            for asset, balance in account.balances.items():
                assert balance.free >= 0
                assert balance.locked == sum((o.locked for o in _spending(account, asset)), Decimal(0))


def _spending(account: Account, asset: str) -> list[Order]:
    side = Side.SELL if asset == "ETH" else Side.BUY
    return [order for order in account.open_orders.values() if order.side is side]


@given(st.lists(_TICKETS, max_size=30))
def test_cancelling_everything_nets_all_locks_to_zero(actions: list[_Action]) -> None:
    exchange, accounts = make_exchange()
    for number, action in enumerate(actions):
        _act(exchange, accounts[action[0]], action, number)
    for account in accounts:
        for order in list(account.open_orders.values()):
            exchange.cancel(account, order, "c")
        assert all(balance.locked == 0 for balance in account.balances.values())
        assert all(order.locked == 0 for order in account.orders.values())
