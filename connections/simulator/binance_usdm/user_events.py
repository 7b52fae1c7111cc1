"""User data of USD-M accounts: listen keys, and what is told to whoever listens by one."""

import secrets
from collections import defaultdict
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from connections.simulator.accounts import Account
from connections.simulator.binance.market_payloads import Json
from connections.simulator.binance_usdm import payloads
from connections.simulator.event_faults import deliver
from connections.simulator.exchange import AccountChange, Exchange
from connections.simulator.faults import FaultBox, Occasion
from connections.simulator.margin import MarginBank
from connections.simulator.matching import ZERO
from connections.simulator.sockets import Socket
from connections.simulator.tape import AggregateTrade, Trade

KEY_LIFE_MS = 60 * 60_000
_encode = msgspec.json.Encoder().encode


class ListenKeys:
    """One an account, while it is kept alive."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, int]] = {}

    def open(self, api_key: str, now_ms: int) -> str:
        """A new key, or the living one, which then lives an hour from now."""
        key, _ = self._keys.get(api_key, (secrets.token_hex(32), 0))
        self._keys[api_key] = (key, now_ms + KEY_LIFE_MS)
        return key

    def extend(self, api_key: str, now_ms: int) -> str | None:
        """None when there is none."""
        return self.open(api_key, now_ms) if api_key in self._keys else None

    def close(self, api_key: str) -> str | None:
        """The key that ended; None when there was none."""
        return self._keys.pop(api_key, ("", 0))[0] or None

    def owner(self, key: str) -> str | None:
        """The API key whose listen key this is."""
        return next((owner for owner, (known, _) in self._keys.items() if known == key), None)

    def expired(self, now_ms: int) -> list[str]:
        """The API keys whose listen key has just ended of age."""
        return [owner for owner, (_, until) in self._keys.items() if until <= now_ms]


class UserEvents:
    """Tells accounts what happened to them: order reports first, then what it did to wallet and positions."""

    def __init__(self, exchange: Exchange, bank: MarginBank, faults: FaultBox) -> None:
        self.keys = ListenKeys()
        self._exchange = exchange
        self._bank = bank
        self._faults = faults
        self._sockets: dict[str, set[Socket]] = defaultdict(set)
        exchange.listeners.append(self)

    def add(self, api_key: str, socket: Socket) -> None:
        self._sockets[api_key].add(socket)

    def remove(self, api_key: str, socket: Socket) -> None:
        self._sockets[api_key].discard(socket)

    def expire_keys(self, now_ms: int) -> None:
        """Listen keys that nobody kept alive end, and whoever listens by one hears of it for the last time."""
        for api_key in self.keys.expired(now_ms):
            self.end_key(api_key)

    def end_key(self, api_key: str) -> None:
        key = self.keys.close(api_key)
        if key is not None:
            self._send(api_key, [{"e": "listenKeyExpired", "E": self._exchange.now_ms(), "listenKey": key}])
            self._sockets.pop(api_key, None)

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        """Public matters are the market streams'."""

    def account_changed(self, account: Account, change: AccountChange) -> None:
        if not self._sockets[account.api_key]:
            return
        now_ms = self._exchange.now_ms()
        events = [payloads.order_event(report, now_ms) for report in change.reports]
        traded = dict.fromkeys(report.order.symbol for report in change.reports if report.fill)
        if traded:
            wallets = {asset: (account.balances[asset].free, ZERO) for asset in change.assets}
            events.append(
                payloads.account_event("ORDER", wallets, self._holdings(account, traded), account.updated_ms, now_ms)
            )
        symbol = change.reports[0].order.symbol if change.reports else ""
        self._deliver(Occasion(api_key=account.api_key, symbol=symbol), events)

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None:
        kind = "DEPOSIT" if amount > 0 else "WITHDRAW"
        self._tell_wallet(account, kind, asset, amount, {})

    def funded(self, account: Account, symbol: str, asset: str, amount: Decimal) -> None:
        self._tell_wallet(account, "FUNDING_FEE", asset, amount, dict.fromkeys([symbol]))

    def insured(self, account: Account, asset: str, amount: Decimal) -> None:
        """The insurance fund took its fee of a liquidation, or paid what was missing."""
        self._tell_wallet(account, "INSURANCE_CLEAR", asset, amount, {})

    def leverage_set(self, api_key: str, symbol: str, leverage: int) -> None:
        self._send(api_key, [payloads.config_event(symbol, leverage, self._exchange.now_ms())])

    def tell(self, api_key: str, event: Json) -> None:
        """Something that happened beside the books."""
        self._send(api_key, [event])

    def _tell_wallet(
        self, account: Account, kind: str, asset: str, amount: Decimal, symbols: dict[str, None]
    ) -> None:
        now_ms = self._exchange.now_ms()
        wallets = {asset: (account.balances[asset].free, amount)}
        event = payloads.account_event(kind, wallets, self._holdings(account, symbols), now_ms, now_ms)
        self._deliver(Occasion(api_key=account.api_key), [event])

    def _holdings(self, account: Account, symbols: dict[str, None]) -> dict[str, Json]:
        margin = self._bank.margin_of(account)
        return {
            symbol: payloads.holding_row(
                symbol, margin.holdings[symbol], self._bank.mark(symbol), symbol in margin.isolated
            )
            for symbol in symbols
        }

    def _deliver(self, occasion: Occasion, events: list[Json]) -> None:
        deliver(self._faults, occasion, events, partial(self._send, occasion.api_key))

    def _send(self, api_key: str, events: list[dict[str, Any]]) -> None:
        for socket in self._sockets[api_key]:
            for event in events:
                socket.send(_encode(event).decode())
