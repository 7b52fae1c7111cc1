"""Every few minutes each connection's key is tried at the exchange, by the gateway that trades with it (CON-5)."""

import asyncio
from uuid import UUID

from django.conf import settings

from connections import health
from connections.budget.urgency import Urgency, working_at
from connections.database import run as run_in_db
from connections.gateways import GatewayError, KeyPermissions, Unreachable
from connections.models import ConnectionStatus
from desproject.lib.errors import DomainError
from trading.engine.desk import Desk
from trading.engine.state import Account
from trading.engine.tenant import Tenant

# So long the exchange may take to answer.
_PATIENCE = 5.0
# What doesn't work is tried so many times as often.
_UNHEALTHY_FACTOR = 5
# The first checks after a start are spread over one period, by the connection's id.
_SPREAD = 1000


def start_due(desk: Desk, tenant: Tenant) -> None:
    """Starts the checks that are due, in tasks of their own. Disabled keys serve for nothing, so they aren't tried."""
    now = desk.clock.monotonic()
    period = settings.CONFIG.health_check_seconds
    for account in tenant.state.accounts.values():
        status = account.connection.status
        if status == ConnectionStatus.DISABLED:
            continue
        if account.check_at is None:
            account.check_at = now + period * (account.connection.pk.int % _SPREAD) / _SPREAD
        if account.check_at <= now:
            account.check_at = now + period / (_UNHEALTHY_FACTOR if status == ConnectionStatus.UNHEALTHY else 1)
            desk.figures["health_checks"] += 1
            desk.spawn(_check(desk, tenant, account), f"health-{account.connection.pk}")


async def _check(desk: Desk, tenant: Tenant, account: Account) -> None:
    key: UUID = account.connection.pk
    version = account.connection.credential_version
    answer = await _ask(desk, tenant, account)
    if not tenant.closed:
        await run_in_db(health.note, tenant.user_id, key, version, health.judge(answer), desk.clock.now())


async def _ask(desk: Desk, tenant: Tenant, account: Account) -> KeyPermissions | GatewayError:
    try:
        with working_at(Urgency.BACKGROUND):
            async with asyncio.timeout(_PATIENCE):
                return await (await desk.gateway(tenant, account)).permissions()
    except GatewayError as error:
        return error
    except TimeoutError:
        return Unreachable("the exchange doesn't answer")
    except DomainError as error:  # deleted, or its key can't be opened
        return Unreachable(error.message)
