"""Which market data trading needs now, told to the stream processes in a layer below (connections/demand.py)."""

from collections import defaultdict

from accounts.tenancy import everyone
from trading.models import InstanceStatus, Order, Position, StrategyInstance
from trading.order_states import OPEN
from trading.quotes import bitcoin_in

_OF_A_FEED = ("symbol", "connection__exchange", "connection__mode", "connection__paper_market")
Wanted = dict[str, dict[str, set[str]]]


def wanted() -> Wanted:
    """Feed → symbol → timeframes, of running strategies, open orders and positions, and BTC beside them (in a database
    thread)."""
    needed: Wanted = defaultdict(lambda: defaultdict(set))
    with everyone():
        running = StrategyInstance.objects.filter(status=InstanceStatus.RUNNING, is_deleted=False)
        for instance in running.select_related("connection", "connection_b"):
            for connection in filter(None, (instance.connection, instance.connection_b)):
                needed[connection.feed][instance.symbol].add(instance.timeframe)
        for model in (Order.objects.filter(status__in=OPEN), Position.objects.exclude(quantity=0)):
            for row in model.select_related("connection").only(*_OF_A_FEED):
                needed[row.connection.feed].setdefault(row.symbol, set())
    for symbols in needed.values():
        for symbol in list(symbols):  # by it the worth of market orders is limited
            symbols.setdefault(bitcoin_in(symbol), set())
    return {feed: dict(symbols) for feed, symbols in needed.items()}
