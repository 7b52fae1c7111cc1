"""What the market shows of one feed, for paper accounts to trade at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from connections.events import BookState, Quote
from trading.paper.account import Levels


@dataclass(frozen=True, slots=True)
class Prices:
    """``quotes`` and ``books`` are the engine's: the newest of each by (feed, symbol)."""

    feed: str
    quotes: Mapping[tuple[str, str], Quote]
    books: Mapping[tuple[str, str], BookState]

    def depth(self, symbol: str) -> tuple[Levels, Levels]:
        """(bids, asks), best first. Nothing while the book isn't valid; the quote where none was told."""
        book, quote = self.books.get((self.feed, symbol)), self.quotes.get((self.feed, symbol))
        if book is not None and (not book.valid or (book.bids and book.asks)):
            return book.bids, book.asks
        if quote is None:
            return (), ()
        return ((quote.bid, quote.bid_size),), ((quote.ask, quote.ask_size),)

    def marks(self, symbols: Iterable[str]) -> dict[str, Decimal]:
        """The middle of bid and ask, where a quote is known."""
        found = {symbol: self.quotes.get((self.feed, symbol)) for symbol in symbols}
        return {symbol: (quote.bid + quote.ask) / 2 for symbol, quote in found.items() if quote is not None}
