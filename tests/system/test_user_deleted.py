"""A user is deleted in the middle of trading: nothing new is sent, open orders are cancelled, keys destroyed."""

import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.system.installation import QUICK, Installation
from tests.system.trading import Account, Person, Trading

pytestmark = pytest.mark.database("embedded", reason="a minute: once is enough")
StartTrading = Callable[..., Installation]
_GRACE_SECONDS = 6.0
_EMAIL = "charlie@example.org"


class _Charlie:
    """A third user, who trades and has an order far from the market that rests."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.trading = Trading(installation, {})
        self.person: Person = self.trading.register(_EMAIL)
        self.token = self.trading.token(self.person)
        self.account: Account = self.trading.bind(self.person, "spot")
        (connection,) = self._column("SELECT connections.id FROM connections", "connections")
        instance = self.trading.api(
            "strategy-instances",
            {
                "name": "quick", "strategy": "rsi", "connection": str(connection), "symbol": "BTC/USDT",
                "timeframe": "1s",
                "params": {"period": 2, "oversold": 49, "overbought": 51, "evaluate_on": "quote"},
                "sizing": {"type": "quote_amount", "amount": "100"},
            },
            self.token,
        )  # fmt: skip
        self.trading.api(f"strategy-instances/{instance['id']}/start", {}, self.token)
        known = "SELECT price FROM trades WHERE symbol = 'ETH/USDT' LIMIT 1"
        installation.wait_until(lambda: bool(installation.query(known)), "a price is known")
        ((price,),) = installation.query(known)
        resting = {
            "connection": str(connection), "symbol": "ETH/USDT", "side": "buy", "type": "limit",
            "time_in_force": "gtc", "quantity": "0.1",
            "price": str(round(Decimal(price) * Decimal("0.7"))),
        }  # fmt: skip
        self.resting = str(self.trading.api("orders", resting, self.token)["id"])

    def _column(self, select: str, table: str, where: str = "") -> list[object]:
        sql = f"{select} JOIN users ON users.id = {table}.user_id WHERE users.email = '{_EMAIL}' {where}"
        return [value for (value,) in self.installation.query(sql)]

    def statuses(self, where: str = "") -> list[object]:
        return self._column("SELECT orders.status FROM orders", "orders", where)

    def keys(self) -> list[object]:
        return self._column("SELECT connections.id FROM connections", "connections", "AND api_key_sealed <> ''")

    def orders_at_exchange(self) -> int:
        return len(self.trading.orders_received(self.account))

    def open_at_exchange(self) -> list[str]:
        orders = self.trading.control("ledger")["accounts"][self.account.key]["orders"]
        return [order["status"] for order in orders if order["status"] in ("NEW", "PARTIALLY_FILLED")]

    def trade(self) -> None:
        """Returns when the strategy has traded and the other order rests at the exchange."""
        self.installation.wait_until(
            lambda: "filled" in self.statuses() and "submitted" in self.statuses("AND orders.symbol = 'ETH/USDT'"),
            "charlie trades",
        )

    def delete(self) -> None:
        self.trading.api("me/delete", {"password": self.person.password}, self.token)


@pytest.fixture
def start(start_trading: StartTrading) -> Callable[[], _Charlie]:
    def start() -> _Charlie:
        installation = start_trading(environment={**QUICK, "KEY_GRACE_SECONDS": str(_GRACE_SECONDS)})
        charlie = _Charlie(installation)
        charlie.trade()
        return charlie

    return start


def test_trading_ends_orders_are_cancelled_and_keys_destroyed(start: Callable[[], _Charlie]) -> None:
    charlie = start()
    charlie.delete()
    time.sleep(2)  # what the promise allows
    sent = charlie.orders_at_exchange()
    charlie.installation.wait_until(lambda: not charlie.keys(), "the key is destroyed", _GRACE_SECONDS)
    assert set(charlie.statuses()) <= {"filled", "cancelled", "expired", "rejected"}
    assert charlie.open_at_exchange() == []
    charlie.installation.wait_for_trades(6)
    assert charlie.orders_at_exchange() == sent
    charlie.installation.stop().assert_nothing_differs()


def test_keys_are_destroyed_when_the_exchange_refuses_every_cancel(start: Callable[[], _Charlie]) -> None:
    charlie = start()
    fault = {"kind": "drop_before", "method": "DELETE", "api_key": charlie.account.key}
    charlie.trading.control("faults", fault)
    charlie.delete()
    time.sleep(_GRACE_SECONDS / 2)
    assert charlie.keys()
    charlie.installation.wait_until(lambda: not charlie.keys(), "the key is destroyed", 3 * _GRACE_SECONDS)
    assert charlie.trading.control("counters")["faults"]["drop_before"] >= 1
    left = charlie.installation.query(
        "SELECT details FROM audit_logs WHERE event_type = 'api_key.destroyed'"
    )
    assert "orders are open" in str(left)
