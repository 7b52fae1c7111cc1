"""The strategies that exist: one file each in this package, found by its ``Strategy`` class."""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError

from desproject.lib.errors import InvalidInput
from desproject.lib.plugins import discover
from trading.strategies.contract import Params, StrategyClass, StrategyKind

__all__ = [
    "UnknownStrategy", "bar_strategies", "params_schema", "parse_params", "register", "strategies", "strategy",
    "takes_pair",
]


_sources: list[Callable[[Mapping[str, StrategyKind]], Mapping[str, StrategyKind]]] = []


class UnknownStrategy(InvalidInput):
    """No strategy has this slug."""

    code = "UNKNOWN_STRATEGY"


@cache
def strategies() -> Mapping[str, StrategyKind]:
    """Every strategy by its slug, ours and those of the operator's folder."""
    found = discover(sys.modules[__name__], "Strategy")
    for source in _sources:
        found |= source(found)
    return MappingProxyType(dict(sorted(found.items())))


def register(source: Callable[[Mapping[str, StrategyKind]], Mapping[str, StrategyKind]]) -> None:
    """Adds strategies that aren't files of this package; ``source`` is told which there are already."""
    _sources.append(source)


@cache
def bar_strategies() -> Mapping[str, StrategyClass]:
    """Those that look at bars: all but the ones that trade between two connections."""
    return MappingProxyType({
        slug: cast(StrategyClass, kind) for slug, kind in strategies().items() if not takes_pair(slug)
    })  # fmt: skip


def takes_pair(slug: str) -> bool:
    """Whether the strategy trades between two connections. Raises UnknownStrategy."""
    return bool(getattr(strategy(slug), "takes_pair", False))


def strategy(slug: str) -> StrategyKind:
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
