"""Arbitrage: buys on one exchange and sells on another at the same moment."""

from decimal import Decimal
from typing import ClassVar

from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from trading.arbitrage.edge import Terms
from trading.sizing import BaseAmount, QuoteAmount, Sizing
from trading.strategies.contract import Params


class ArbitrageParams(Params):
    min_profit_rate: float = Field(
        default=0.001, gt=0, le=0.1, description="Fires when so much of the purchase's worth is won, after all fees."
    )
    max_profit_rate: float = Field(
        default=0.01, gt=0, le=0.5,
        description="So far the rate that is asked for may rise by itself, with failures and with latency.",
    )  # fmt: skip
    fee_rate: float = Field(
        default=0.0025, ge=0, le=0.02,
        description="What the first connection takes of an order's worth (0.0005 is 0.05 %).",
    )  # fmt: skip
    fee_rate_b: float = Field(
        default=0.0025, ge=0, le=0.02, description="What the second connection takes of an order's worth."
    )
    depth_share: float = Field(
        default=0.1, gt=0, le=1, description="Takes at most this share of the ten best levels of either side."
    )
    deep_multiple: float = Field(
        default=20.0, ge=1, le=10000,
        description="Limit orders instead of market orders where the levels hold so many times the quantity.",
    )  # fmt: skip
    max_book_age_ms: int = Field(
        default=7000, ge=100, le=60000,
        description="Order books not confirmed for so long are not traded on (quiet ones are confirmed every 5 s).",
    )  # fmt: skip
    latency_target_ms: int = Field(
        default=1000, ge=10, le=60000,
        description="Slower answers of the exchanges raise the rate that is asked for, and fewer pairs are watched.",
    )  # fmt: skip
    pause_seconds: float = Field(default=1.0, ge=0, le=3600, description="Rests so long after a fire.")

    @field_validator("max_profit_rate")
    @classmethod
    def _not_below_lowest(cls, highest: float, info: ValidationInfo) -> float:
        if highest < info.data.get("min_profit_rate", 0):
            raise ValueError("must be at least min_profit_rate")
        return highest


class Strategy:
    """Takes two connections; what it does with their books is in trading/arbitrage."""

    slug: ClassVar[str] = "arbitrage"
    title: ClassVar[str] = "Arbitrage"
    summary: ClassVar[str] = (
        "Buys on one connection and sells on the other at once, when that wins more than the fees and the slippage."
    )
    Params: ClassVar[type[Params]] = ArbitrageParams
    takes_pair: ClassVar[bool] = True

    @staticmethod
    def terms(params: ArbitrageParams, sizing: Sizing, rate: Decimal) -> Terms:
        """What a fire has to keep to while ``rate`` is asked for."""
        return Terms(
            rate=rate,
            max_base=sizing.amount if isinstance(sizing, BaseAmount) else None,
            max_quote=sizing.amount if isinstance(sizing, QuoteAmount) else None,
            depth_share=exactly(params.depth_share),
            deep_multiple=exactly(params.deep_multiple),
            max_age_ms=float(params.max_book_age_ms),
        )


def exactly(value: float) -> Decimal:
    """A parameter as the decimal that was typed."""
    return Decimal(repr(value))
