"""The recordings of real exchanges, where they are on this machine."""

import gzip
import re
from functools import cache
from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[4] / "shared/data"
BINANCE = _DATA / "binance/spot-btcusdt-20240808.jsonl.gz"
UPBIT = _DATA / "upbit/krw-ws-sample.log.gz"
needs_binance = pytest.mark.skipif(not BINANCE.exists(), reason=f"no recording {BINANCE.name} in ../shared/data")
needs_upbit = pytest.mark.skipif(not UPBIT.exists(), reason=f"no recording {UPBIT.name} in ../shared/data")


@cache
def binance_lines() -> tuple[bytes, ...]:
    """Every message as it came, in the order in which it came; one is the answer to a request for the book."""
    with gzip.open(BINANCE, "rb") as lines:
        return tuple(line.partition(b" ")[2] for line in lines)


@cache
def upbit_frames() -> tuple[bytes, ...]:
    with gzip.open(UPBIT, "rt") as lines:
        return tuple(found[1].encode() for line in lines if (found := re.search(r"b'(.*)'", line)))
