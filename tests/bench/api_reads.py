"""API reads a second through daphne over HTTP, connections kept: a page of 50 orders, and the installation's metrics.

DES: token, tenancy, pagination, serializers. Floor: a plain Django view under daphne in a process of its own
(``bare_site.py``) that selects the same 50 rows, or nothing at all for the metrics, which DES has ready in memory.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

from accounts.caller import Caller
from accounts.models import User
from accounts.services import register
from accounts.tenancy import tenant_scope
from connections.models import Connection
from tests.bench import site, world
from tests.bench.measure import Result
from tests.connections.simulator.server import Keys
from trading.models import Order
from trading.order_states import OrderStatus

ORDERS = 500


def run(seconds: float, *, clients: int) -> Iterator[Result]:
    token = token_of_an_administrator()
    _create_orders()
    about: dict[str, Any] = {"clients": clients, "processes": 1}
    with site.served() as (des, bare):
        for name, path, under in (("orders", "/api/orders", "/orders"), ("metrics", "/api/metrics", "/nothing")):
            calls = site.getting(des + path, token), site.getting(bare + under)
            figures = site.in_turns(calls, clients, seconds)
            yield Result(f"api_{name}_reads_by_{clients}", "1/s", *figures, about=about)


def token_of_an_administrator() -> str:
    """Their access token."""
    session = register(
        email="reader@example.org", password="correct-horse-battery", device_name="bench",
        caller=Caller("127.0.0.1", "bench"),
    )  # fmt: skip
    User.objects.filter(pk=session.user.pk).update(is_admin=True)
    return session.access


def _create_orders() -> None:
    user = User.objects.get()
    connection = world.bind(user, Keys("reader-api-key", "reader-secret"))
    with tenant_scope(user.pk):
        Order.objects.bulk_create(_order(user, connection) for _ in range(ORDERS))


def _order(user: User, connection: Connection) -> Order:
    amount = Decimal("0.01")
    return Order(
        user=user, connection=connection, symbol="BTC/USDT", side="buy", type="market", time_in_force="gtc",
        quantity=amount, filled_quantity=amount, reported_quantity=amount, average_price=Decimal(60_000),
        status=OrderStatus.FILLED, client_order_id=uuid4().hex,
    )  # fmt: skip
