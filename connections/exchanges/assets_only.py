"""The part of a gateway that venues without positions share: they say so."""

from collections.abc import Sequence
from datetime import datetime

from connections.gateways import AccountPosition, FundingPayment, MarginSettings, MarginType, NotOffered

_NO_MARGIN = "this exchange has neither positions nor margin"


class AssetsOnly:
    """See connections.gateways.Gateway."""

    async def positions(self) -> Sequence[AccountPosition]:
        return ()

    async def margin_settings(self, symbol: str) -> MarginSettings:
        raise NotOffered(_NO_MARGIN)

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        raise NotOffered(_NO_MARGIN)

    async def set_margin_type(self, symbol: str, margin_type: MarginType) -> None:
        raise NotOffered(_NO_MARGIN)

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        return ()
