"""A recording of Binance's combined stream as a market source; at its end it begins again.

Each line is `<local ns> <json>`: bookTicker, trade and depth messages of one symbol, with one REST depth snapshot
among them. The spacing of the lines is kept, their stamps and update ids are not: the simulator numbers and
stamps what it sends itself. When the recording begins again the old levels are cleared by ordinary depth deltas.
"""

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from connections.simulator.market import Action, Clear, Print, Quotes, Step, Top
from connections.simulator.matching import Side

_MAX_DELAY_S = 5.0


class BadRecording(ValueError):
    """The file is no recording of one symbol with a depth snapshot."""


class Recording:
    """The market of one symbol, played from a file."""

    def __init__(self, path: Path) -> None:
        self._lines = _read(path)
        self._start = next((index for index, (_, body) in enumerate(self._lines) if "lastUpdateId" in body), -1)
        if self._start < 0:
            raise BadRecording(f"{path.name}: no depth snapshot in it")
        self._snapshot: dict[str, Any] = self._lines[self._start][1]
        symbols = {body["data"]["s"] for _, body in self._lines if "data" in body}
        if len(symbols) != 1:
            raise BadRecording(f"{path.name}: {len(symbols)} symbols, need one")
        self._symbol: str = symbols.pop()

    @property
    def symbol(self) -> str:
        return self._symbol

    @property
    def first_price(self) -> Decimal:
        return Decimal(self._snapshot["bids"][0][0])

    def steps(self) -> Iterator[Step]:
        """For ever: the snapshot, then every later line."""
        while True:
            yield Step(0.0, self._symbol, (Clear(), Quotes(_levels(self._snapshot, "bids", "asks"))))
            yield from self._play()

    def _play(self) -> Iterator[Step]:
        last_update = self._snapshot["lastUpdateId"]
        previous_ns = self._lines[self._start][0]
        for nanoseconds, body in self._lines[self._start + 1 :]:
            data = body.get("data", {})
            # A quote older than the newest one would bring back levels that have gone.
            if data.get("u", last_update) >= last_update:
                delay = min((nanoseconds - previous_ns) / 1e9, _MAX_DELAY_S)
                previous_ns = nanoseconds
                last_update = data.get("u", last_update)
                yield Step(delay, self._symbol, tuple(_actions(data)))


def _read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    decoder = msgspec.json.Decoder()
    opener = gzip.open if path.suffix == ".gz" else open
    lines: list[tuple[int, dict[str, Any]]] = []
    with opener(path, "rb") as file:
        for line in file:
            stamp, _, body = line.strip().partition(b" ")
            if body:
                lines.append((int(stamp), decoder.decode(body)))
    return lines


def _actions(data: dict[str, Any]) -> Iterator[Action]:
    kind = data.get("e")
    if kind == "trade":
        yield Print(Side.SELL if data["m"] else Side.BUY, Decimal(data["p"]), Decimal(data["q"]))
    elif kind == "depthUpdate":
        yield Quotes(_levels(data, "b", "a"))
    elif "B" in data:
        yield Top((Decimal(data["b"]), Decimal(data["B"])), (Decimal(data["a"]), Decimal(data["A"])))


def _levels(data: dict[str, Any], bids: str, asks: str) -> tuple[tuple[Side, Decimal, Decimal], ...]:
    """Removals first, so that a moved spread never crosses itself on the way."""
    levels = [(Side.BUY, Decimal(price), Decimal(size)) for price, size in data[bids]]
    levels += [(Side.SELL, Decimal(price), Decimal(size)) for price, size in data[asks]]
    return tuple(sorted(levels, key=lambda level: bool(level[2])))
