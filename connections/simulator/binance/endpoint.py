"""A method that a venue of Binance has: what it costs, who may call it and what it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connections.simulator.binance.call import Call
from connections.simulator.binance.params import Params

Handler = Callable[[Call], Any]
Weight = Callable[[Params], int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method. ``params`` of None: whatever else is sent is ignored."""

    handler: Handler
    weight: Weight
    params: frozenset[str] | None = None
    signed: bool = False
    counts_orders: bool = False
    # Known by its key, without stamp and signature.
    keyed: bool = False


def weight_of(weight: int | Weight) -> Weight:
    return weight if callable(weight) else lambda _params: weight


def by_symbol(one: int, many: int) -> Weight:
    return lambda params: one if "symbol" in params else many
