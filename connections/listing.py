"""Whether an exchange trades a symbol, asked while somebody waits for the answer."""

import asyncio

from asgiref.sync import async_to_sync

from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Unreachable

_PATIENCE = 15


def is_listed(exchange: str, mode: str, symbol: str) -> bool:
    """Asks the exchange, within a bounded time. Raises GatewayError."""
    return async_to_sync(_is_listed)(exchange, mode, symbol)


async def _is_listed(exchange: str, mode: str, symbol: str) -> bool:
    network = Network()
    try:
        async with asyncio.timeout(_PATIENCE):
            return symbol in await venue(exchange).public(mode, network).symbols()
    except TimeoutError:
        raise Unreachable("the exchange doesn't answer") from None
    finally:
        await network.aclose()
