"""What the two sides of an arbitrage must be, said by field."""

from connections.listing import is_listed
from connections.models import Mode
from desproject.lib.errors import InvalidInput
from trading.models import StrategyInstance
from trading.positions import is_on_margin
from trading.strategies import takes_pair


def check_sides(instance: StrategyInstance) -> None:
    """An arbitrage has two connections on spot, any other strategy one. Raises InvalidInput."""
    second = instance.connection_b
    if not takes_pair(instance.strategy):
        if second is not None:
            raise _refused("connection_b", "only an arbitrage takes a second connection")
        return
    if second is None:
        raise _refused("connection_b", "an arbitrage needs a second connection")
    if second.pk == instance.connection_id:
        raise _refused("connection_b", "must be another connection than the first")
    if second.mode == Mode.PAPER:
        raise _refused("connection_b", "must not be a paper account")
    if instance.exits:
        raise _refused("exits", "an arbitrage holds nothing that a stop could sell: must be empty")
    if instance.sizing.get("type") in ("equity_share", "risk_per_trade"):
        raise _refused("sizing.type", "an arbitrage takes one of: quote_amount, base_amount")
    if is_on_margin(instance.symbol):
        raise _refused("symbol", "an arbitrage trades on spot: must have no settlement asset")


def require_listed(instance: StrategyInstance) -> None:
    """Both exchanges of an arbitrage must trade its symbol; they are asked. Raises InvalidInput, GatewayError."""
    if instance.connection_b is None:
        return
    for connection in (instance.connection, instance.connection_b):
        if not is_listed(connection.exchange, connection.mode, instance.symbol):
            raise _refused("symbol", f"not traded on {connection.name}")


def _refused(field: str, reason: str) -> InvalidInput:
    return InvalidInput("the strategy can't be set up so", fields={field: [reason]})
