"""The fault matrix: what can go wrong with a stream, and what comes of it at every venue.

``python -m tests.conformance.fault_matrix`` writes docs/fault-matrix.md; tests/conformance/test_fault_matrix.py strikes
with every row at every venue, and fails where the page says something else than the rows.
"""

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.conformance import fault_strikes as strikes
from tests.conformance.fault_strikes import Strike

PAGE = Path(__file__).resolve().parents[2] / "docs/fault-matrix.md"
BINANCE, WON = ("binance_spot", "binance_usdm"), ("upbit", "bithumb")


class Seen(StrEnum):
    """What strategies see of it."""

    NOTHING = "nothing: everything goes on"
    BOOK = "the book is invalid at once; best prices, trades and bars go on"
    LOST = "the book is invalid, bars of the symbol wait for the exchange's history"
    DOWN = "the feed is down: no price, no book, no bar becomes final"
    POLLED = "the feed is down; then best prices and trades by REST each second, no book"
    EPOCH = "no entries on the account until its engine has asked for orders, fills and balances by REST"


AT_ONCE = "at once"
MESSAGE = "next message"
SNAPSHOT = "next snapshot, a second or two"
TRY = "next try: 1 s at first, up to 30 s"
SILENCE = "60 s of silence, then as a cut"
RENEWAL = "at once, beside the old socket"


@dataclass(frozen=True, slots=True)
class Effect:
    """What comes of a fault: what strategies see, the figures that count it, and how long until all is whole."""

    seen: Seen
    counted: tuple[str, ...]
    whole: str


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. ``won`` where the won exchanges, whose books come whole, differ from Binance's venues."""

    name: str
    fault: str
    strike: Strike
    binance: Effect
    won: Effect | None = None
    is_quick: bool = False

    def effect(self, slug: str) -> Effect:
        return self.won if self.won is not None and slug in WON else self.binance


_BOOK_BY_MESSAGE = Effect(Seen.BOOK, ("books_invalidated",), MESSAGE)
_UNREADABLE = Effect(Seen.NOTHING, ("market_frames_unreadable",), AT_ONCE)
_UNCOUNTED = Effect(Seen.NOTHING, (), AT_ONCE)
_CUT = Effect(Seen.DOWN, ("cuts", "reconnects"), TRY)

MARKET = (
    Row("cut", "the socket is cut without a word", strikes.cut, _CUT, is_quick=True),
    Row("frozen", "the socket stays open and says nothing", strikes.frozen, Effect(Seen.DOWN, ("cuts",), SILENCE)),
    Row("refused", "the exchange refuses sockets, REST works", strikes.refused,
        Effect(Seen.POLLED, ("cuts", "connect_failures", "poll_rounds"), TRY)),
    Row("mute", "sockets are opened and never answered", strikes.mute,
        Effect(Seen.POLLED, ("cuts", "poll_rounds"), TRY)),
    Row("away", "neither sockets nor REST can be had", strikes.away,
        Effect(Seen.DOWN, ("cuts", "connect_failures"), TRY)),
    Row("depth lost", "a book's message doesn't come", strikes.depth_lost,
        Effect(Seen.BOOK, ("book_gaps", "books_invalidated"), SNAPSHOT), _UNCOUNTED, is_quick=True),
    Row("depth doubled", "a book's message comes twice", strikes.depth_doubled,
        Effect(Seen.NOTHING, ("book_repeats",), AT_ONCE), _UNCOUNTED),
    Row("depth swapped", "a book's message comes before the one before it", strikes.depth_swapped,
        Effect(Seen.BOOK, ("book_gaps", "books_invalidated"), SNAPSHOT),
        Effect(Seen.BOOK, ("book_gaps", "books_invalidated"), MESSAGE)),
    Row("book stands still", "no message of a book comes any more, others go on", strikes.standing,
        Effect(Seen.BOOK, ("books_standing", "books_invalidated", "renewals"), "a second, then the next snapshot"),
        Effect(Seen.BOOK, ("book_gaps", "books_invalidated"), "next message; found after five quiet seconds by REST")),
    Row("trade lost", "a trade's message doesn't come", strikes.trade_lost,
        Effect(Seen.LOST, ("trade_gaps", "books_invalidated"), SNAPSHOT), _UNCOUNTED),
    Row("trade doubled", "a trade's message comes twice", strikes.trade_doubled,
        Effect(Seen.NOTHING, ("trades_repeated",), AT_ONCE)),
    Row("trade swapped", "a trade's message comes before the one before it", strikes.trade_swapped,
        Effect(Seen.LOST, ("trade_gaps", "trades_repeated"), SNAPSHOT),
        Effect(Seen.NOTHING, ("trades_repeated",), AT_ONCE)),
    Row("crossed", "the best bid is above the best ask", strikes.crossed,
        Effect(Seen.BOOK, ("books_invalidated",), SNAPSHOT), _BOOK_BY_MESSAGE),
    Row("one side", "a book has no asks", strikes.one_sided,
        Effect(Seen.BOOK, ("books_invalidated",), SNAPSHOT), _BOOK_BY_MESSAGE),
    Row("empty", "a book has no level at all", strikes.empty,
        Effect(Seen.BOOK, ("books_invalidated",), SNAPSHOT), _BOOK_BY_MESSAGE),
    Row("spread", "the best ask is 20 % above the best bid", strikes.wide,
        Effect(Seen.BOOK, ("books_invalidated",), SNAPSHOT), _BOOK_BY_MESSAGE),
    Row("no number", "a level's size is no number", strikes.no_number,
        Effect(Seen.BOOK, ("books_invalidated",), SNAPSHOT), _UNREADABLE),
    Row("HTML", "an HTML page instead of JSON", strikes.html, _UNREADABLE),
    Row("truncated", "a frame ends in the middle", strikes.truncated, _UNREADABLE),
    Row("huge", "a frame larger than 16 MiB", strikes.huge, _CUT),
    Row("unknown event", "an event of an unknown type", strikes.unknown_event, _UNCOUNTED),
    Row("unknown field", "every event has a field more", strikes.unknown_field, _UNCOUNTED),
    Row("other numbers", "prices and sizes as numbers where they were text, and the other way round",
        strikes.other_numbers, _UNCOUNTED),
    Row("negative sequence", "a book's number (of the won exchanges: its time) is negative", strikes.negative_sequence,
        _UNREADABLE, Effect(Seen.BOOK, ("book_gaps", "books_invalidated"), MESSAGE)),
    Row("clock ahead", "the exchange's clock jumps ahead by an hour", strikes.clock_ahead, _UNCOUNTED),
    Row("clock back", "the exchange's clock jumps back by a minute", strikes.clock_back, _UNCOUNTED,
        Effect(Seen.BOOK, ("book_gaps", "books_invalidated"), MESSAGE)),
    Row("slow consumer", "Redis takes nothing for half a second", strikes.slow_consumer, _UNCOUNTED),
    Row("symbol gone", "a symbol that is wanted isn't traded any more", strikes.symbol_gone, _UNCOUNTED),
)  # fmt: skip

_EPOCH = Effect(Seen.EPOCH, ("cuts", "reconnects"), TRY)
ACCOUNT = (
    Row("cut", "the user socket is cut without a word", strikes.account_cut, _EPOCH, is_quick=True),
    Row("frozen", "the user socket stays open and answers no ping", strikes.account_frozen,
        Effect(Seen.EPOCH, ("cuts",), SILENCE)),
    Row("refused", "the exchange refuses user sockets", strikes.account_refused,
        Effect(Seen.EPOCH, ("cuts", "connect_failures"), TRY)),
    Row("HTML", "an HTML page instead of an event, which may have been a fill", strikes.account_html,
        Effect(Seen.EPOCH, ("user_frames_unreadable",), AT_ONCE)),
    Row("doubled", "an order's events come twice: engines know a fill by its id", strikes.account_doubled, _UNCOUNTED),
    Row("reordered", "an order's events come backwards: late states are harmless", strikes.account_reordered,
        _UNCOUNTED),
    Row("clock ahead", "the socket is cut while the exchange's clock is an hour ahead for a second",
        strikes.account_clock, _EPOCH),
)  # fmt: skip


def page() -> str:
    """The whole document."""
    return "\n".join([
        _HEAD, _table("Public data", MARKET), "", _table("User data", ACCOUNT), "", _FOOT,
    ])  # fmt: skip


_HEAD = """# Fault matrix

What can go wrong with a stream, and what comes of it. `make fault-matrix` strikes with every row at every venue over
real sockets and waits until all is whole again: valid books, best prices and trades, orders that are heard; the slow
tests do so with every row at two venues, by turns. This page is written by `python -m tests.conformance.fault_matrix`;
`tests/conformance/test_fault_matrix.py` fails where the two differ.

*Counted* names figures of `GET /api/metrics` (`streams.…`). Times are those of the default settings
(`STREAM_SILENCE_SECONDS`, `STREAM_BACKOFF_CAP_SECONDS`, `STREAM_POLL_AFTER_SECONDS`); tests run with shorter ones.
Binance stands for spot and USD-M, whose books come as numbered deltas and whose trades are numbered; won for Upbit and
Bithumb, whose books come whole and without a number: there a lost message is made good by the next one, and what the
stream leaves standing is found by a comparison with REST after five quiet seconds. Nowhere does a strategy see a book
that is crossed, empty on one side or wider than 10 %, or a trade twice.
"""
_FOOT = """\
Ten tries in a row that failed are an alert (`reconnect_alerts`; every account of a user socket is told), and so are
more than five cuts of a socket within an hour (`cut_alerts`); the trying goes on for ever. A user-data address that the
exchange ends (USD-M's `listenKeyExpired`, an expired or forgotten key) is replaced, see
`tests/connections/streaming/test_account_sockets.py`; a Redis that is away for longer, `test_publishers.py` there."""


def _table(title: str, rows: tuple[Row, ...]) -> str:
    head = "| fault | what happens | venues | strategies see | counted | whole again |"
    lines = [f"## {title}", "", head, "|---|---|---|---|---|---|"]
    for row in rows:
        both = (("all", row.binance),) if row.won is None else (("Binance", row.binance), ("won", row.won))
        for venues, effect in both:
            counted = ", ".join(f"`{name}`" for name in effect.counted) or "-"
            lines.append(f"| {row.name} | {row.fault} | {venues} | {effect.seen} | {counted} | {effect.whole} |")
    return "\n".join(lines)


def main() -> None:
    PAGE.write_text(page() + "\n", encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
