"""A seeded random market for one symbol: trends that turn, a two-sided book around them, takers that trade.

Pure: an endless iterator of steps. The same seed gives the same steps whatever users do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from connections.simulator.instruments import Instrument
from connections.simulator.market import Action, Quotes, Step, Take
from connections.simulator.matching import Side

STEP_S = 0.1
_LEVELS = 40
_REFRESHED = 4
_TAKER_CHANCE = 0.7
# A trend lasts some seconds and moves some parts of the price a step; noise rides on it.
_TREND_STEPS = (60, 160)
_TREND_MOVE = (6e-6, 2e-5)
_NOISE = 1.2e-5
_PULL = 2e-5


@dataclass(frozen=True, slots=True)
class Storm:
    """The price moves by a share of itself (-0.2: it falls by a fifth) within so many seconds (at speed 1), while steps
    come `rate` times as often and the touch is `spread` times as wide."""

    move: float
    seconds: float
    rate: float = 1.0
    spread: float = 1.0

    @property
    def steps(self) -> int:
        return max(1, round(self.seconds * self.rate / STEP_S))


_CALM = Storm(0, 0)


class RandomWalk:
    """The market of one symbol."""

    def __init__(self, instrument: Instrument, seed: int | str) -> None:
        self._instrument = instrument
        self._random = Random(f"{seed}/{instrument.symbol}/walk")  # noqa: S311 - reproducible prices, no secret
        self._anchor = float(instrument.start_price / instrument.tick)
        self._middle = self._anchor
        self._trend = 0.0
        self._trend_left = 0
        self._storm = _CALM
        self._storm_left = 0
        # Levels lie on a coarse grid, so that most stay where they are when the price moves.
        self._gap = max(1, round(self._anchor * 1e-5))
        self._shown: dict[Side, set[int]] = {Side.BUY: set(), Side.SELL: set()}

    @property
    def symbol(self) -> str:
        return self._instrument.symbol

    @property
    def first_price(self) -> Decimal:
        return self._instrument.start_price

    def begin(self, storm: Storm) -> None:
        """From the next step on; where it ends, the market goes on as before around the new price."""
        self._storm, self._storm_left = storm, storm.steps

    def calm(self) -> None:
        """The storm is over: what it hadn't moved yet moves at once, where the market was too slow for it."""
        while self._storm_left:
            self._blow()

    def steps(self) -> Iterator[Step]:
        """For ever."""
        while True:
            self._move()
            actions: list[Action] = [Quotes(tuple(self._requote()))]
            if self._random.random() < _TAKER_CHANCE:
                actions.append(self._taker())
            yield Step(STEP_S / self._storm.rate, self.symbol, tuple(actions))

    def _move(self) -> None:
        if self._storm_left:
            self._blow()
        else:
            self._storm = _CALM
        if self._trend_left <= 0:
            self._turn()
        self._trend_left -= 1
        pull = (self._anchor - self._middle) / self._anchor * _PULL
        self._middle *= 1 + self._trend + self._random.gauss(0, _NOISE) + pull

    def _blow(self) -> None:
        """One step of the storm."""
        factor = (1 + self._storm.move) ** (1 / self._storm.steps)
        self._middle *= factor
        self._anchor *= factor
        self._storm_left -= 1

    def _turn(self) -> None:
        direction = -1 if self._trend > 0 else 1
        self._trend = direction * self._random.uniform(*_TREND_MOVE)
        self._trend_left = self._random.randint(*_TREND_STEPS)

    def _requote(self) -> Iterator[tuple[Side, Decimal, Decimal]]:
        wanted = {Side.BUY: self._grid(-1), Side.SELL: self._grid(1)}
        for side in Side:
            for ticks in sorted(self._shown[side] - set(wanted[side])):
                yield side, self._price(ticks), Decimal(0)
        for side in Side:
            best = wanted[side][0]
            fresh = {best, *self._random.sample(wanted[side], _REFRESHED)} | (set(wanted[side]) - self._shown[side])
            for ticks in sorted(fresh):
                yield side, self._price(ticks), self._size(abs(ticks - best))
            self._shown[side] = set(wanted[side])

    def _grid(self, direction: int) -> list[int]:
        """Tick numbers of one side's levels, best first: the touch, then the grid."""
        middle = round(self._middle)
        best = middle + direction * max(1, round(self._storm.spread))
        first = (best // self._gap if direction < 0 else -(-best // self._gap)) * self._gap
        levels = [first + direction * self._gap * step for step in range(_LEVELS)]
        return [best, *(ticks for ticks in levels if ticks != best and ticks > 0)]

    def _size(self, distance: int) -> Decimal:
        depth = 1 + min(distance / self._gap / 10, 3)
        return self._lots(self._random.lognormvariate(0, 0.5) * depth)

    def _taker(self) -> Take:
        up = 0.5 + (0.25 if self._trend > 0 else -0.25)
        side = Side.BUY if self._random.random() < up else Side.SELL
        return Take(side, self._lots(self._random.lognormvariate(-2.5, 1.3)))

    def _lots(self, share: float) -> Decimal:
        """A share of the usual level quantity, at least one lot."""
        lots = int(share * float(self._instrument.level_quantity / self._instrument.lot))
        return self._instrument.lot * max(1, lots)

    def _price(self, ticks: int) -> Decimal:
        return self._instrument.tick * ticks
