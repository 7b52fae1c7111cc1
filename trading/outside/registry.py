"""The outside strategies there are: files of the folder ``STRATEGY_PLUGINS_DIR``, by the contract of the built-in ones.

Their parameters are checked in every process, so each file is imported there too; but only after a process of its own
has loaded it within the limits. A file that fails that is left out, with an error in the log.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog
from django.conf import settings

from trading.outside.messages import BARS
from trading.outside.process import OutsideProcess
from trading.outside.worker import load_file
from trading.strategies.contract import BarWindow, Evaluation, Params

log = structlog.get_logger(__name__)

_SLUG = re.compile(r"[a-z][a-z0-9_]{0,31}")


# The field's name hides the class inside it.
_Params = Params


@dataclass(frozen=True, slots=True)
class OutsideKind:
    """A strategy kind whose evaluation happens elsewhere."""

    slug: str
    title: str
    summary: str
    Params: type[Params]
    path: str

    def warmup_bars(self, params: _Params) -> int:
        return BARS

    def batch(self, params: Sequence[_Params]) -> "OutsideBatch":
        return OutsideBatch(any(getattr(each, "evaluate_on", "bar") == "quote" for each in params))


@dataclass(frozen=True, slots=True)
class OutsideBatch:
    """Stands where a batch does; nobody evaluates it here."""

    wants_quotes: bool

    def on_bar(self, bars: BarWindow) -> Evaluation:
        raise NotImplementedError("an outside strategy is asked in its own process")

    def on_quote(self, bars: BarWindow, price: float) -> Evaluation:
        raise NotImplementedError("an outside strategy is asked in its own process")


def outside_strategies(taken: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those whose slug isn't ``taken``. Starts a process for each file: to be called once."""
    folder = settings.CONFIG.strategy_plugins_dir
    found: dict[str, OutsideKind] = {}
    for path in sorted(Path(folder).glob("*.py")) if folder else ():
        try:
            kind = _read(path)
        except Exception as error:  # noqa: BLE001  # one bad file mustn't stop DES
            log.error("outside_strategy_left_out", file=path.name, error=f"{type(error).__name__}: {error}"[:300])
            continue
        if kind.slug in taken or kind.slug in found:
            log.error("outside_strategy_left_out", file=path.name, error=f"the slug {kind.slug} is taken")
            continue
        found[kind.slug] = kind
    return MappingProxyType(found)


def _read(path: Path) -> OutsideKind:
    try_out(path)
    strategy = load_file(str(path)).Strategy
    if not _SLUG.fullmatch(strategy.slug) or not issubclass(strategy.Params, Params):
        raise TypeError("it needs a slug of small letters, and Params of trading.strategies.contract")
    return OutsideKind(strategy.slug, str(strategy.title), str(strategy.summary), strategy.Params, str(path))


def try_out(path: Path) -> None:
    """Loads the file in a process of its own, with the default parameters. Raises OutsideFailed."""
    with ThreadPoolExecutor(1) as thread:  # a loop may run in this one
        thread.submit(asyncio.run, _try_out(str(path))).result()


async def _try_out(path: str) -> None:
    config = settings.CONFIG
    process = await OutsideProcess.start(
        path, {}, memory_mib=config.strategy_plugin_memory_mib, seconds=config.strategy_plugin_seconds
    )
    await process.end()
