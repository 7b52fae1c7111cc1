"""What a strategy is: a file in this package with a class ``Strategy`` that fits the protocol below.

Instances of one strategy on the same (feed, symbol, timeframe) are evaluated together, as a batch: one call for each
event, numpy arrays inside, however many instances there are. Indicator values derive from a stated number of the
newest bars and nothing else, so a restart changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

HOLD, ENTER, EXIT = 0, 1, -1
Actions = NDArray[np.int8]


class Params(BaseModel):
    """Base of every strategy's parameters: typed, bounded, described; unknown names and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class BarWindow:
    """The newest finished bars, oldest first, as float arrays of equal length. Prices in the quote asset."""

    opened_ms: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.close)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One action for each instance of the batch (HOLD, ENTER or EXIT), in the batch's order, and what was seen:
    indicator name → one value an instance (NaN while it isn't warm, a finite number wherever the action isn't HOLD)."""

    actions: Actions
    seen: dict[str, NDArray[np.float64]] = field(default_factory=dict)


class Batch(Protocol):
    """All instances of one strategy on one (feed, symbol, timeframe). Calls leave nothing behind: the same bars give
    the same actions, whatever was asked before."""

    # Some instance wants on_quote too.
    wants_quotes: bool

    def on_bar(self, bars: BarWindow) -> Evaluation:
        """A bar was finished: ``bars`` ends with it. Instances that are not warm yet HOLD."""

    def on_quote(self, bars: BarWindow, price: float) -> Evaluation:
        """A quote changed: ``price`` is the mid, the provisional close after ``bars``. Only instances whose
        parameters ask for quotes may act. While the bar is under way the same action may come with every quote:
        the caller acts on the first one."""


# The protocol's own ``Params`` hides the name inside it.
_Params = Params


class StrategyClass(Protocol):
    """A strategy kind, found by its ``slug``. Its methods get instances of its own ``Params``."""

    slug: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    Params: ClassVar[type[_Params]]

    @staticmethod
    def warmup_bars(params: _Params) -> int:
        """How many finished bars a decision derives from, and never more; no signal before there are as many."""

    @staticmethod
    def batch(params: Sequence[_Params]) -> Batch:
        """Prepares a batch for instances with these parameters, in this order."""
