"""Reads a venue's api.toml, refuses it when something is missing or unknown, and finds the addresses of a mode."""

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from connections.budget.limits import LimitRow
from desproject.lib.errors import InvalidInput

SIMULATOR = "simulator"
# A version's name stands in metrics too.
_VERSION = re.compile(r"[\w.-]{1,32}")


class BadApiFile(Exception):
    """api.toml doesn't say what the adapter needs."""


class Timeframes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    all: tuple[str, ...]


class ApiFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every file has. ``fields``: kind of record → our name → the venue's; the same ones are left out.

    ``budgets``: the exchange's limits by name. ``costs``: what a request (``GET`` and the name of its path) costs, by
    the limit that it counts to.
    """

    version: str
    documents: str
    bases: dict[str, Any]
    timeframes: Timeframes
    fields: dict[str, dict[str, str]]
    budgets: dict[str, LimitRow]
    costs: dict[str, dict[str, int]]

    def costs_by_request(self) -> dict[tuple[str, str], list[tuple[str, int]]]:
        """(limit, cost) by method and path, in the file's order. Raises BadApiFile for a limit or a path that the file
        doesn't have."""
        paths: dict[str, str] = msgspec.to_builtins(getattr(self, "paths", {}))
        found: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for limit, requests in self.costs.items():
            if limit not in self.budgets:
                raise BadApiFile(f"costs.{limit} names no limit of budgets")
            for request, cost in requests.items():
                method, _, name = request.partition(" ")
                if name not in paths:
                    raise BadApiFile(f"costs.{limit} names an unknown path: {request}")
                found.setdefault((method, paths[name]), []).append((limit, cost))
        return found

    def require_timeframe(self, timeframe: str) -> None:
        """Raises InvalidInput for a timeframe of which the exchange tells no candles."""
        if timeframe not in self.timeframes.all:
            allowed = ", ".join(self.timeframes.all)
            raise InvalidInput("unknown timeframe", fields={"timeframe": [f"one of {allowed}"]})

    def word(self, record: str, field: str) -> str:
        """The venue's name of one of a record's fields."""
        return self.fields[record].get(field, field)


Api = TypeVar("Api", bound=ApiFile)
Base = TypeVar("Base")


def load(text: str, kind: type[Api], records: Mapping[str, type[msgspec.Struct]]) -> Api:
    """Reads and checks a file's text; ``records`` are those whose fields it maps. Raises BadApiFile."""
    try:
        api = msgspec.convert(tomllib.loads(text), kind)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadApiFile(str(error)) from error
    if not _VERSION.fullmatch(api.version):
        raise BadApiFile("version must be a name of letters, digits, dots and dashes")
    for name, path in msgspec.to_builtins(getattr(api, "paths", {})).items():
        if not path.startswith("/"):
            raise BadApiFile(f"paths.{name} must start with a slash")
    if not any(row.of == "address" for row in api.budgets.values()):
        raise BadApiFile("budgets must have one of an address")
    api.costs_by_request()
    _check_fields(api, records)
    return api


def _check_fields(api: ApiFile, records: Mapping[str, type[msgspec.Struct]]) -> None:
    """Raises BadApiFile where the file leaves a record out, or maps what there isn't, or two fields to one."""
    if differing := set(api.fields) ^ set(records):
        raise BadApiFile(f"fields must have these records and no others: {', '.join(sorted(differing))}")
    for record, row in records.items():
        fields = row.__struct_fields__
        if unknown := set(api.fields[record]) - set(fields):
            raise BadApiFile(f"fields.{record} names unknown fields: {', '.join(sorted(unknown))}")
        if len({api.word(record, field) for field in fields}) != len(fields):
            raise BadApiFile(f"fields.{record} names one field twice")


def base_of(bases: Mapping[str, Base], mode: str, at: Callable[[str, str], Base], prefix: str = "") -> Base:
    """The addresses of a mode; ``at`` makes the simulator's of where it is by HTTP and by WebSocket.

    Raises InvalidInput for a mode that isn't there.
    """
    if mode == SIMULATOR:
        return at(*simulator_addresses(prefix))
    if mode not in bases:
        raise InvalidInput("this exchange has no such mode", fields={"mode": [f"one of {', '.join(bases)}"]})
    return bases[mode]


def modes_of(bases: Mapping[str, object]) -> tuple[str, ...]:
    """The modes that can be used here: the simulator only where its address is set."""
    return (*bases, SIMULATOR) if settings.CONFIG.simulator_url else tuple(bases)


def simulator_addresses(prefix: str = "") -> tuple[str, str]:
    """Where the simulator is: by HTTP and by WebSocket. It serves every venue at one address, which is a setting;
    venues whose paths are like another's have a prefix before them there.

    Raises InvalidInput where there is none.
    """
    url: str = settings.CONFIG.simulator_url
    if not url:
        raise InvalidInput("no simulator is set up here", fields={"mode": ["SIMULATOR_URL is not set"]})
    return url + prefix, url.replace("http", "ws", 1) + prefix
