"""Leverage and margin type of a perpetual contract: the exchange keeps them; DES asks for them and sets them there."""

import asyncio

from asgiref.sync import async_to_sync
from django.db import transaction

from accounts.models import User
from accounts.tenancy import shard_of
from audit.record import record
from connections import custody
from connections.exchanges import venue
from connections.gateways import (
    Credentials,
    Gateway,
    MarginSettings,
    MarginType,
    NotOffered,
    OrderRejected,
    Unreachable,
)
from connections.models import Connection, ConnectionStatus
from connections.paper import require_key
from connections.pool import lent_gateway
from connections.services import KeyDisabled
from desproject.lib.bus import Wake, wake
from desproject.lib.errors import InvalidInput
from risk.selectors import limits_of
from trading.models import Command, CommandKind
from trading.paper.account import LEVERAGE

# Seconds that the exchange has to answer while somebody waits for it.
_PATIENCE = 15


def read_margin(*, connection: Connection, symbol: str) -> MarginSettings:
    """What is in force. Raises NotOffered, InvalidInput for a symbol that isn't traded, KeyDisabled, GatewayError."""
    if connection.is_paper:
        return MarginSettings(LEVERAGE, MarginType.CROSS)
    return async_to_sync(_ask)(connection.exchange, connection.mode, _key(connection), symbol, None, None)


def set_margin(
    *, user: User, connection: Connection, symbol: str, leverage: int | None, margin_type: MarginType | None
) -> MarginSettings:
    """Sets what is given, and says what is in force then. The engine reads it anew before it counts on it.

    Raises what ``read_margin`` raises, and InvalidInput by field for what the exchange or the limits don't allow.
    """
    require_key(connection)
    _check_limit(connection, leverage)
    key = _key(connection)
    found = async_to_sync(_ask)(connection.exchange, connection.mode, key, symbol, leverage, margin_type)
    with transaction.atomic():
        Command.objects.create(user=user, kind=CommandKind.RECONCILE, connection=connection)
        record(
            "connection.margin_set", user_id=user.pk, resource_type="connection", resource_id=connection.pk,
            details={"symbol": symbol, "leverage": found.leverage, "margin_type": found.margin_type},
        )  # fmt: skip
        transaction.on_commit(lambda: wake(Wake(shard_of(user.pk), user.pk, "command")))
    return found


def _check_limit(connection: Connection, leverage: int | None) -> None:
    most = limits_of(connection).max_leverage
    if leverage is not None and most is not None and leverage > most:
        raise InvalidInput("beyond your limits", fields={"leverage": [f"must be at most {most}, by your risk limits"]})


def _key(connection: Connection) -> Credentials:
    if not venue(connection.exchange).capabilities.positions:
        raise NotOffered("this exchange has neither positions nor margin")
    if connection.status == ConnectionStatus.DISABLED:
        raise KeyDisabled("this key is disabled: replace it by a new one")
    return custody.read_credentials(connection, "margin settings")


async def _ask(
    exchange: str, mode: str, key: Credentials, symbol: str, leverage: int | None, margin_type: MarginType | None
) -> MarginSettings:
    try:
        async with asyncio.timeout(_PATIENCE), lent_gateway(exchange, mode, key) as gateway:
            if margin_type is not None:
                await _set_type(gateway, symbol, margin_type)
            if leverage is not None:
                await _set_leverage(gateway, symbol, leverage)
            return await gateway.margin_settings(symbol)
    except TimeoutError:
        raise Unreachable("the exchange doesn't answer") from None


async def _set_type(gateway: Gateway, symbol: str, margin_type: MarginType) -> None:
    try:
        await gateway.set_margin_type(symbol, margin_type)
    except OrderRejected as error:
        raise InvalidInput("the exchange refused it", fields={"margin_type": [error.message]}) from error


async def _set_leverage(gateway: Gateway, symbol: str, leverage: int) -> None:
    try:
        await gateway.set_leverage(symbol, leverage)
    except OrderRejected as error:
        raise InvalidInput("the exchange refused it", fields={"leverage": [error.message]}) from error
