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


class Nonsense(Exception):
    """A strategy's answer isn't one: the wrong number of actions, unknown ones, or values that are no numbers."""


def require_sense(evaluation: object, instances: int) -> None:
    """Raises Nonsense for what isn't an evaluation of so many instances."""
    if not isinstance(evaluation, Evaluation) or not isinstance(evaluation.actions, np.ndarray):
        raise Nonsense(f"no evaluation, but {type(evaluation).__name__}")
    actions = evaluation.actions
    if actions.shape != (instances,) or actions.dtype.kind != "i":
        raise Nonsense(f"actions of shape {actions.shape} and kind {actions.dtype}, wanted are {instances} integers")
    acting = actions != HOLD
    if not acting.any():
        return
    if np.abs(actions).max() > 1:
        raise Nonsense("an action that is neither HOLD, ENTER nor EXIT")
    for name, values in evaluation.seen.items():
        if np.shape(values) != (instances,) or not np.isfinite(values[acting]).all():
            raise Nonsense(f"{name}: not a finite number for each instance that acts")


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


class StrategyKind(Protocol):
    """What every strategy kind has, whatever it looks at. It is found by its ``slug``."""

    slug: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    Params: ClassVar[type[_Params]]


class StrategyClass(StrategyKind, Protocol):
    """A strategy that looks at bars. Its methods get instances of its own ``Params``."""

    @staticmethod
    def warmup_bars(params: _Params) -> int:
        """How many finished bars a decision derives from, and never more; no signal before there are as many."""

    @staticmethod
    def batch(params: Sequence[_Params]) -> Batch:
        """Prepares a batch for instances with these parameters, in this order."""
