"""The strategies that exist: one file each in this package, found by its ``Strategy`` class."""

import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from desproject.lib.errors import InvalidInput
from desproject.lib.plugins import discover
from trading.strategies.contract import Params, StrategyClass

__all__ = ["UnknownStrategy", "params_schema", "parse_params", "strategies", "strategy"]


class UnknownStrategy(InvalidInput):
    """No strategy has this slug."""

    code = "UNKNOWN_STRATEGY"


@cache
def strategies() -> Mapping[str, StrategyClass]:
    """Every strategy by its slug."""
    return MappingProxyType(discover(sys.modules[__name__], "Strategy"))


def strategy(slug: str) -> StrategyClass:
    """The strategy of this slug. Raises UnknownStrategy."""
    try:
        return strategies()[slug]
    except KeyError:
        known = ", ".join(strategies())
        raise UnknownStrategy("unknown strategy", fields={"strategy": [f"must be one of: {known}"]}) from None


def params_schema(slug: str) -> dict[str, Any]:
    """The JSON Schema of a strategy's parameters. Raises UnknownStrategy."""
    return strategy(slug).Params.model_json_schema()


def parse_params(slug: str, raw: object) -> Params:
    """Typed parameters from JSON values; what is left out gets its default.

    Raises UnknownStrategy, and InvalidInput whose ``fields`` say by parameter name what is wrong.
    """
    params = strategy(slug).Params
    if not isinstance(raw, Mapping):
        raise InvalidInput("bad strategy parameters", fields={"params": ["must be an object of names and values"]})
    try:
        return params.model_validate(dict(raw))
    except ValidationError as error:
        raise InvalidInput("bad strategy parameters", fields=_by_name(error)) from None


def _by_name(error: ValidationError) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else "params"
        fields.setdefault(name, []).append(problem["msg"].removeprefix("Value error, "))
    return fields
