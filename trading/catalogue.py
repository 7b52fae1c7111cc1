"""The strategies that instances can be made of, as the API and the console show them."""

from typing import Any

from trading.bars import TIMEFRAMES
from trading.exits import exits_schema
from trading.sizing import sizing_schema
from trading.strategies import params_schema, strategies


def catalogue() -> list[dict[str, Any]]:
    """Each strategy with the JSON Schemas of its parameters and of an instance's sizing and exits."""
    return [
        {
            "slug": slug, "title": kind.title, "summary": kind.summary, "params": params_schema(slug),
            "sizing": sizing_schema(), "exits": exits_schema(),
            "timeframes": list(TIMEFRAMES),
        }
        for slug, kind in strategies().items()
    ]
