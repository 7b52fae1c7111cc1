"""Request parameters as Binance reads them: from query and body, with its errors for what it can't read."""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import unquote_plus

import msgspec

from connections.simulator.binance import errors

_SYMBOL = r"^[A-Z0-9-_.]{1,20}$"
_DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_INTEGER = r"^[0-9]{1,20}$"
_CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
_DECIMALS = 8
_E = TypeVar("_E", bound=StrEnum)


def parse_pairs(query: str, body: str) -> dict[str, str]:
    """Names and values of query and body; the query's wins. Raises ApiError for a name given twice in one."""
    return {**_pairs(body), **_pairs(query)}


def _pairs(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for item in text.split("&") if text else ():
        name, _, value = item.partition("=")
        if name in values:
            raise errors.ApiError(-1101, "Duplicate values for a parameter detected.")
        values[name] = unquote_plus(value)
    return values


class Params:
    """Typed reading of one request's parameters; each reader raises the ApiError that fits."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def require_known(self, known: Collection[str]) -> None:
        """Refuses empty and unknown parameters."""
        for name, value in self._values.items():
            if not value:
                raise errors.ApiError(-1105, f"Parameter '{name}' was empty.")
        read = sum(name in known for name in self._values)
        if read != len(self._values):
            text = f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(self._values)}'."
            raise errors.ApiError(-1104, text)

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def matching(self, name: str, pattern: str) -> str | None:
        value = self._values.get(name)
        if value is not None and re.fullmatch(pattern, value) is None:
            raise errors.illegal(name, pattern)
        return value

    def symbol(self, name: str = "symbol") -> str:
        value = self.matching(name, _SYMBOL)
        if value is None:
            raise errors.missing(name)
        return value

    def optional_symbol(self) -> str | None:
        return self.matching("symbol", _SYMBOL)

    def symbols(self) -> list[str] | None:
        """The JSON list in `symbols`."""
        value = self._values.get("symbols")
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=list[str])
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise errors.illegal("symbols", r'^\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\]$') from None

    def client_id(self, name: str) -> str | None:
        return self.matching(name, _CLIENT_ID)

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.matching(name, _INTEGER)
        return default if value is None else int(value)

    def moment(self, name: str) -> int | None:
        """Epoch milliseconds; microseconds are understood too."""
        value = self.integer(name)
        return value // 1000 if value is not None and value > 10**15 - 1 else value

    def limit(self, default: int, maximum: int) -> int:
        value = self.integer("limit", default)
        if value is None or value < 1:
            raise errors.ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, maximum)

    def flag(self, name: str) -> bool:
        value = self._values.get(name, "false").lower()
        if value not in ("true", "false"):
            raise errors.illegal(name, "^(true|false)$")
        return value == "true"

    def decimal(self, name: str) -> Decimal | None:
        value = self.matching(name, _DECIMAL)
        if value is None:
            return None
        if len(value.partition(".")[2].rstrip("0")) > _DECIMALS:
            raise errors.too_precise(name)
        return Decimal(value)

    def choice(self, name: str, options: type[_E], error: errors.ApiError) -> _E | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return options(value)
        except ValueError:
            raise error from None
