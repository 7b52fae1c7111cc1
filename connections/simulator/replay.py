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
    """The market of one symbol, played from a file. Lines are kept as read and decoded when their turn comes."""

    def __init__(self, path: Path) -> None:
        self._lines = _read(path)
        self._start = next((index for index, (_, body) in enumerate(self._lines) if b"lastUpdateId" in body), -1)
        if self._start < 0:
            raise BadRecording(f"{path.name}: no depth snapshot in it")
        self._snapshot = _decode(self._lines[self._start][1])
        symbols = {stream.partition(b"@")[0] for stream in map(_stream, self._lines) if stream}
        if len(symbols) != 1:
            raise BadRecording(f"{path.name}: {len(symbols)} symbols, need one")
        self._symbol = symbols.pop().decode().upper()

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
        previous_ns = self._lines[self._start][0]
        player = _Player(self._snapshot["lastUpdateId"])
        for nanoseconds, line in self._lines[self._start + 1 :]:
            actions = tuple(player.actions(_decode(line)["data"]))
            if actions:
                yield Step(min((nanoseconds - previous_ns) / 1e9, _MAX_DELAY_S), self._symbol, actions)
                previous_ns = nanoseconds


class _Player:
    """Turns recorded messages into actions; knows which are older than what it has already shown."""

    def __init__(self, snapshot_id: int) -> None:
        self._snapshot_id = snapshot_id
        self._top_id = snapshot_id
        self._top: Top | None = None

    def actions(self, data: dict[str, Any]) -> Iterator[Action]:
        kind = data.get("e")
        if kind == "trade":
            yield Print(Side.SELL if data["m"] else Side.BUY, Decimal(data["p"]), Decimal(data["q"]))
        elif kind == "depthUpdate":
            yield from self._depth(data)
        elif data["u"] > self._top_id:
            self._top_id = data["u"]
            self._top = Top((Decimal(data["b"]), Decimal(data["B"])), (Decimal(data["a"]), Decimal(data["A"])))
            yield self._top

    def _depth(self, data: dict[str, Any]) -> Iterator[Action]:
        if data["u"] <= self._snapshot_id:
            return
        yield Quotes(_levels(data, "b", "a"))
        if data["u"] < self._top_id and self._top is not None:
            # The delta is older than the best quote shown: it must not bring back levels that have gone.
            yield self._top


def _read(path: Path) -> list[tuple[int, bytes]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        parts = (line.strip().partition(b" ") for line in file)
        return [(int(stamp), body) for stamp, _, body in parts if body]


def _decode(line: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(line)
    return decoded


def _stream(line: tuple[int, bytes]) -> bytes:
    """The stream's name, which stands at the beginning of each message but the snapshot."""
    return line[1][11:].partition(b'"')[0] if line[1].startswith(b'{"stream":"') else b""


def _levels(data: dict[str, Any], bids: str, asks: str) -> tuple[tuple[Side, Decimal, Decimal], ...]:
    """Removals first, so that a moved spread never crosses itself on the way."""
    levels = [(Side.BUY, Decimal(price), Decimal(size)) for price, size in data[bids]]
    levels += [(Side.SELL, Decimal(price), Decimal(size)) for price, size in data[asks]]
    return tuple(sorted(levels, key=lambda level: bool(level[2])))
