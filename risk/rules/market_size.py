"""No single market order is worth more than so many BTC; where no price of BTC is known, others judge alone."""

from typing import ClassVar

from connections.gateways import OrderType
from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "market_size"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_market_btc
        if limit is None or intent.type != OrderType.MARKET:
            return None
        if intent.base == "BTC":
            worth = intent.quantity
        elif state.bitcoin_price:
            worth = intent.notional / state.bitcoin_price
        else:
            return None
        if worth <= limit:
            return None
        return f"the market order is worth {figure(worth, 'BTC')}, the limit is {figure(limit, 'BTC')}"
