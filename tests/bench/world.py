"""What DES trades with in a benchmark: users with accounts at the simulator and running strategies."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import uuid4

import aiohttp

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from connections import custody
from connections.gateways import Credentials
from connections.models import Connection
from tests.bench.simulator import Simulator
from tests.connections.simulator.server import Keys
from trading.models import Order, StrategyInstance
from trading.order_states import OrderStatus
from trading.services import create_instance, start_instance

FEED, SYMBOL, TIMEFRAME = "binance_spot:simulator", "BTC/USDT", "1s"
_INSTANCES_A_USER = 10
_MONEY = {"USDT": "1000000", "BTC": "10"}
_ORDER_WORTH = "50"


@dataclass(frozen=True, slots=True)
class World:
    """Users and the keys of a spare account, which is the floor's."""

    users: int
    spare: Keys


async def create_keys(simulator: Simulator, names: list[str]) -> list[Keys]:
    async with aiohttp.ClientSession() as session:
        return [await simulator.create_account(session, name, **_MONEY) for name in names]


def create_instances(keys: list[Keys], instances: int) -> None:
    """Spreads running instances over as many users as there are keys; their averages differ."""
    users = [User.objects.create(email=f"trader-{number}@example.org") for number, _ in enumerate(keys)]
    bound = [bind(user, each) for user, each in zip(users, keys, strict=True)]
    for number in range(instances):
        user, connection = users[number % len(users)], bound[number % len(users)]
        with tenant_scope(user.pk):
            start_instance(user=user, instance=_instance(user, connection, number))


def users_for(instances: int) -> int:
    return max(1, instances // _INSTANCES_A_USER)


def bind(user: User, keys: Keys) -> Connection:
    """The user's connection to the account of these keys."""
    row = Connection(id=uuid4(), user=user, name="spot", exchange="binance_spot", mode="simulator")
    credentials = Credentials(keys.api_key, keys.api_secret)
    custody.seal_credentials(credentials, user_id=user.pk, connection_id=row.pk, exchange=row.exchange).store_in(row)
    with tenant_scope(user.pk):
        row.save(force_insert=True)
    return row


def _instance(user: User, connection: Connection, number: int) -> StrategyInstance:
    return create_instance(
        user=user,
        connection=connection,
        name=f"cross {number}",
        strategy="ema_cross",
        symbol=SYMBOL,
        timeframe=TIMEFRAME,
        params={"fast": 5 + number % 10, "slow": 20 + number % 20},
        sizing={"type": "quote_amount", "amount": _ORDER_WORTH},
    )


def a_filled_order() -> str:
    """The id of an order that is over, for the floor to copy; empty while there is none."""
    with everyone():
        found = Order.objects.filter(status=OrderStatus.FILLED, quantity__isnull=False).order_by("created_at").first()
    return str(found.pk) if found else ""


def worth(price: Decimal) -> Decimal:
    return Decimal(_ORDER_WORTH) / price
