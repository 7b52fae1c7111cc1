from typing import Any

PRICE_SECONDS = 0.3


async def changed_prices(feeds: list[str], shown: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    return []
