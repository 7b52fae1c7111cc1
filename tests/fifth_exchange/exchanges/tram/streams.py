"""The dialects of Tram's sockets: books and deals for everybody, orders and wallet for the key of the handshake."""

from collections.abc import Collection

import msgspec

from connections.events import PublicTrade
from connections.exchanges.contract import ONLY, BalanceNews, Confirmed, MarketFrame, OrderNews, UserFrame, WholeDepth
from connections.exchanges.wire import Symbols, amount, amounts, decode, price
from connections.gateways import Credentials

from . import codec
from .api import TramApi
from .public import TramPublic
from .signing import signed_headers

_NOTHING = msgspec.Raw(b"null")


class Frame(msgspec.Struct):
    """A frame says in ``of`` what its ``body`` is; a confirmation has the number of what it confirms."""

    of: str
    body: msgspec.Raw = _NOTHING
    confirms: int | None = None


class OrderChange(msgspec.Struct):
    """An order after a change, and the deal that changed it, if it was one."""

    order: msgspec.Raw
    deal: msgspec.Raw = _NOTHING


class TramMarketDialect:
    """See connections.exchanges.contract.MarketDialect. A stream is ``book:BTC_EUR`` or ``deals:BTC_EUR``."""

    probe = ""
    states_all = False
    whole_books = True

    def __init__(self, api: TramApi, base: str, symbols: Symbols) -> None:
        self.url = base + api.paths.public_socket
        self.messages_a_second = api.limits.messages_a_second
        self.lifetime = float(api.limits.socket_seconds)
        self._symbols = symbols

    def streams(self, symbol: str, timeframes: Collection[str]) -> Collection[str]:
        market = self._symbols.spelling(symbol)
        return {f"book:{market}", f"deals:{market}"}

    def subscribe(self, request_id: int, streams: Collection[str]) -> str:
        return msgspec.json.encode({"do": "listen", "number": request_id, "to": sorted(streams)}).decode()

    def unsubscribe(self, request_id: int, streams: Collection[str]) -> str:
        return msgspec.json.encode({"do": "leave", "number": request_id, "to": sorted(streams)}).decode()

    def read(self, frame: str | bytes, seen_ns: int) -> MarketFrame | None:
        head: Frame = decode(frame, Frame)
        if head.confirms is not None:
            return Confirmed(head.confirms)
        if head.of == "book":
            book: codec.Book = decode(head.body, codec.Book)
            bids, asks = amounts(book.bids), amounts(book.asks)
            return WholeDepth(self._symbols.name(book.market), seen_ns, book.at, bids, asks)
        if head.of == "deal":
            deal: codec.PublicDeal = decode(head.body, codec.PublicDeal)
            name = self._symbols.name(deal.market)
            return PublicTrade(name, seen_ns, deal.id, price(deal.price), amount(deal.size), deal.at)
        return None


class TramUserDialect:
    """See connections.exchanges.contract.UserDialect."""

    accounts_per_socket = 1
    probe = ""

    def __init__(self, public: TramPublic, base: str, symbols: Symbols) -> None:
        self._path = public.api.paths.private_socket
        self.url = base + self._path
        self.lifetime = float(public.api.limits.socket_seconds)
        self._codec = public.codec
        self._symbols = symbols

    def handshake(self, credentials: Credentials, now_ms: int) -> dict[str, str]:
        return signed_headers(credentials, now_ms, "GET", self._path)

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        """The handshake has said it all."""
        return ""

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        raise NotImplementedError("the account's socket goes with it")

    def read(self, frame: str | bytes) -> UserFrame | None:
        head: Frame = decode(frame, Frame)
        if head.of == "order":
            change: OrderChange = decode(head.body, OrderChange)
            fills = (self._codec.fill(change.deal, self._symbols),) if change.deal != _NOTHING else ()
            return OrderNews(ONLY, self._codec.order(change.order, self._symbols, fills))
        if head.of == "wallet":
            wallet: codec.Wallet = decode(head.body, codec.Wallet)
            return BalanceNews(ONLY, codec.balances(wallet.rows), wallet.at)
        return None


