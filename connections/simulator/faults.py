"""Scripted faults: one record says what goes wrong, where and how often; the place that applies it asks for it.

| kind | applied by | effect |
|---|---|---|
| drop_before | front door | the connection is cut, the request is not processed |
| delay | front door | the answer waits `seconds` before the request is processed |
| http_error | front door | `status`, `code`, `message`, `retry_after`; not processed |
| accept_then_timeout | front door | processed; after `seconds` the connection is cut without an answer |
| malformed | front door | processed; the answer is `payload` (an HTML page unless given) with `status` |
| truncated | front door | processed; the connection ends in the middle of the answer |
| numbers | front door | processed; amounts come as JSON numbers instead of text |
| renamed_field | front door | processed; the field called `field` comes under another name |
| ws_cut | sockets | open sockets of kind `socket` close (or `abort`) at once |
| ws_freeze | sockets | sockets of kind `socket` say nothing for `seconds`, then go on |
| depth_gap | market streams | a depth delta is swallowed |
| duplicate_event | user events | an event is sent twice |
| reorder_events | user events | the events of one action are sent backwards |
| late_fills | user events | the events of one action wait `seconds` |
| clock_skew | clock | the exchange's clock is off by `milliseconds` |
"""

from collections import Counter
from enum import StrEnum
from random import Random
from typing import NamedTuple

import msgspec

HTML_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class FaultKind(StrEnum):
    HTTP_ERROR = "http_error"
    ACCEPT_THEN_TIMEOUT = "accept_then_timeout"
    DELAY = "delay"
    DROP_BEFORE = "drop_before"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    NUMBERS = "numbers"
    RENAMED_FIELD = "renamed_field"
    WS_CUT = "ws_cut"
    WS_FREEZE = "ws_freeze"
    DEPTH_GAP = "depth_gap"
    DUPLICATE_EVENT = "duplicate_event"
    REORDER_EVENTS = "reorder_events"
    LATE_FILLS = "late_fills"
    CLOCK_SKEW = "clock_skew"


class SocketKind(StrEnum):
    MARKET = "market"
    USER = "user"


class Occasion(NamedTuple):
    """Something that a fault may strike."""

    path: str = ""
    method: str = ""
    symbol: str = ""
    api_key: str = ""


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault. Empty limits match everything, `path` matches what begins with it.

    It strikes after `after` matching occasions, `count` times (0: always).
    """

    kind: FaultKind
    path: str = ""
    method: str = ""
    symbol: str = ""
    api_key: str = ""
    probability: float = 1.0
    count: int = 0
    after: int = 0
    status: int = 500
    code: int = -1000
    message: str = "An unknown error occurred while processing the request."
    retry_after: int | None = None
    seconds: float = 0.0
    socket: SocketKind | None = None
    abort: bool = False
    payload: str = HTML_PAGE
    field: str = ""
    milliseconds: int = 0
    seen: int = 0
    fired: int = 0

    def matches(self, occasion: Occasion) -> bool:
        return (
            occasion.path.startswith(self.path)
            and self.method in ("", occasion.method)
            and self.symbol in ("", occasion.symbol)
            and self.api_key in ("", occasion.api_key)
        )

    @property
    def is_spent(self) -> bool:
        return 0 < self.count <= self.fired


class FaultBox:
    """The faults that are set, and how often each kind has struck."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: list[Fault] = []
        self._random = Random(f"{seed}/faults")  # noqa: S311 - reproducible, no secret
        self.fired: Counter[FaultKind] = Counter()

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def all(self) -> list[Fault]:
        return list(self._faults)

    def strike(self, kind: FaultKind, occasion: Occasion) -> Fault | None:
        """The fault of this kind that strikes now, counted, or None."""
        for fault in self._faults:
            if fault.kind is kind and not fault.is_spent and fault.matches(occasion) and self._hits(fault):
                self.count(fault)
                return fault
        return None

    def count(self, fault: Fault) -> None:
        fault.fired += 1
        self.fired[fault.kind] += 1

    def _hits(self, fault: Fault) -> bool:
        fault.seen += 1
        return fault.seen > fault.after and self._random.random() < fault.probability
