"""What the user data of every Binance venue tells of orders and fills."""

from decimal import Decimal

from connections.exchanges.binance.codec import SIDES, OrderRow, liquidity
from connections.exchanges.wire import Symbols, amount, known
from connections.gateways import Fill, UnexpectedShape
from desproject.lib.clock import from_millis
from desproject.lib.money import ZERO


class OrderEventRow(OrderRow):
    """An order's change, with the fill that changed it if ``happened`` says so."""

    happened: str
    transacted_ms: int
    last_quantity: Decimal = ZERO
    last_price: Decimal = ZERO
    fee: Decimal | None = None
    fee_asset: str | None = None
    trade_id: int = -1
    is_maker: bool = False


def fill_told(event: OrderEventRow, symbols: Symbols) -> Fill:
    """The fill of an event that tells one. Raises UnexpectedShape."""
    if event.fee is None or event.fee_asset is None:
        raise UnexpectedShape("a fill comes without its fee")
    return Fill(
        str(event.trade_id), str(event.order_id), symbols.name(event.symbol), known(SIDES, event.side, "side"),
        amount(event.last_quantity), amount(event.last_price), amount(event.fee), event.fee_asset,
        liquidity(is_maker=event.is_maker), from_millis(event.transacted_ms),
    )  # fmt: skip
