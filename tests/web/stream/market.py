"""What the stream process tells of a market."""

from decimal import Decimal

from connections.events import PublicTrade


def trade(number: int, price: str, quantity: str, executed_ms: int) -> PublicTrade:
    return PublicTrade("BTC/USDT", 1, number, Decimal(price), Decimal(quantity), executed_ms)
