"""Prices that jump (RSK-8): nothing is entered on one until the symbol's book was read anew, for it may be a fault.

A jump is two quotes, one shortly after the other, whose middles are further apart than ``PRICE_GAP_RATE``.
"""

from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings

from connections.events import BookState, Quote

# Quotes further apart than this aren't neighbours: the market may well have moved so far.
_NEIGHBOURS_NS = 60_000_000_000
# Where no book comes (a feed without one, a stream process that is away) a jump is believed after this.
_LONGEST_NS = 60_000_000_000

Instrument = tuple[str, str]


@dataclass(slots=True)
class _Gap:
    part: Decimal
    seen_ns: int
    # The book was given up since then: the next one that is valid was read after the jump.
    is_rereading: bool = False


class PriceGaps:
    """The jumps that aren't confirmed yet, by (feed, symbol)."""

    def __init__(self, most: Decimal | None = None) -> None:
        self._most = Decimal(settings.CONFIG.price_gap_rate) if most is None else most
        self._newest: dict[Instrument, Quote] = {}
        self._gaps: dict[Instrument, _Gap] = {}

    def take_quote(self, instrument: Instrument, quote: Quote) -> Decimal | None:
        """Looks at the next quote; returns by which part the price has jumped, if it has."""
        before = self._newest.get(instrument)
        self._newest[instrument] = quote
        if before is None or quote.seen_ns - before.seen_ns > _NEIGHBOURS_NS:
            return None
        middle = before.bid + before.ask
        part = abs(quote.bid + quote.ask - middle) / middle
        if part <= self._most:
            return None
        self._gaps[instrument] = _Gap(part, quote.seen_ns)
        return part

    def take_book(self, instrument: Instrument, book: BookState) -> None:
        """Looks at the next state of the symbol's book."""
        gap = self._gaps.get(instrument)
        if gap is None or book.seen_ns < gap.seen_ns:
            return
        if not book.valid:
            gap.is_rereading = True
        elif gap.is_rereading:
            del self._gaps[instrument]

    def forget(self, feed: str) -> None:
        """The feed is down: what it tells when it is back has no neighbour."""
        for instrument in [key for key in self._newest if key[0] == feed]:
            del self._newest[instrument]

    def unconfirmed(self, instrument: Instrument, now_ns: int) -> Decimal | None:
        """By which part the price has jumped, while its book hasn't been read anew."""
        gap = self._gaps.get(instrument)
        if gap is None:
            return None
        if now_ns - gap.seen_ns > _LONGEST_NS:
            del self._gaps[instrument]
            return None
        return gap.part
