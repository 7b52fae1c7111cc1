"""What strategies share that act when a value crosses a level, or one average crosses another."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trading.strategies.contract import ENTER, EXIT, HOLD, Actions, Params

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class EvaluatedParams(Params):
    """Parameters of a strategy that can also look between two bars."""

    evaluate_on: Literal["bar", "quote"] = Field(
        default="bar",
        description="When to decide: at the end of each bar, or also on every quote, its mid taken as the bar's close.",
    )


def with_close(closes: Floats, price: float) -> Floats:
    """The closes with a provisional one after them; one that is no price makes every value NaN, so nobody acts."""
    return np.append(closes, price if 0 < price < np.inf else np.nan)


def actions(enter: Flags, leave: Flags) -> Actions:
    """ENTER, EXIT or HOLD an instance; where both hold, EXIT wins."""
    return np.where(leave, EXIT, np.where(enter, ENTER, HOLD)).astype(np.int8)


def crossed_above(before: Floats, now: Floats) -> Flags:
    """Where a distance from a level went from zero or below to above. NaN never crosses."""
    return np.asarray((before <= 0) & (now > 0))


def crossed_below(before: Floats, now: Floats) -> Flags:
    """Where a distance from a level went from zero or above to below. NaN never crosses."""
    return np.asarray((before >= 0) & (now < 0))
