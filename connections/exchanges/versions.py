"""A venue's versions side by side: the one that it is shipped with, and those that an operator put beside it. Which one
is used by whom is a switch, and both may change while DES runs (ADR 24).

A folder of the operator's, ``<EXCHANGE_API_DIR>/<slug>``, holds whole api.toml files under any name, each known by its
``version`` (one of the shipped version's name takes its place), and a ``switch.toml``::

    version = "v4"                  # whom nothing below names; else the shipped one
    modes = { live = "v3" }
    [canary]                        # of accounts' own requests
    version = "v4"
    percent = 10                    # of all connections
    connections = ["<id>"]

The folder is looked at while a venue is used, once a second at most. A folder in which anything is wrong is refused as
a whole: what was in use stays, an error is logged and counted, ``fault`` says why.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import msgspec
import structlog
from django.conf import settings

from connections.exchanges.api_file import SIMULATOR, ApiFile, BadApiFile
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.features import point
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

Api = TypeVar("Api", bound=ApiFile)
LOOK_SECONDS = 1.0
SHIPPED = "api.toml"
SWITCH = "switch.toml"
# What a venue's files looked like: path, time of change, size and place of each.
_Looks = tuple[tuple[str, int, int, int], ...]


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Connections whose own requests go by another version than the others': some by id, and a share of all."""

    version: str
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0
    connections: tuple[str, ...] = ()

    def has(self, connection: str) -> bool:
        """Whether a connection is one of them: the same ones in every process, and at every higher share."""
        return connection in self.connections or point(self.version, connection) < self.percent


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version is used: the canary's goes before the mode's, and that before ``version``."""

    version: str = ""
    modes: dict[str, str] = {}
    canary: Canary | None = None


@dataclass(frozen=True, slots=True)
class _InUse(Generic[Api]):
    """The versions by name, and the switch between them: valid together."""

    versions: Mapping[str, Api]
    switch: Switch = field(default_factory=Switch)


class Versions(Generic[Api]):
    """The versions of one venue. ``read`` makes one of a file's text, or raises BadApiFile. For any thread."""

    def __init__(self, slug: str, folder: Path, read: Callable[[str], Api], clock: Clock = SYSTEM_CLOCK) -> None:
        self.slug = slug
        self.shipped = read((folder / SHIPPED).read_text(encoding="utf-8"))
        self.fault = ""
        self._read = read
        self._clock = clock
        self._in_use = _InUse({self.shipped.version: self.shipped})
        # None where it isn't known: what is found next is read, whatever it is.
        self._looks: _Looks | None = ()
        self._looked_at = -inf

    def of(self, mode: str, connection: str = "") -> Api:
        """What a mode's public data and streams go by, or the requests of one connection there."""
        in_use = self._looked()
        switch = in_use.switch
        name = switch.modes.get(mode, switch.version or self.shipped.version)
        if connection and switch.canary is not None and switch.canary.has(connection):
            name = switch.canary.version
        return in_use.versions[name]

    def __str__(self) -> str:
        """What isn't as shipped, for people; empty where all is."""
        switch = self._looked().switch
        told = [f"by {switch.version}"] if switch.version else []
        told += [f"{mode} by {name}" for mode, name in sorted(switch.modes.items())]
        told += [f"canary by {switch.canary.version}"] if switch.canary is not None else []
        return ", ".join(told + (["new versions refused"] if self.fault else []))

    def names(self) -> Sequence[str]:
        """Every version that can be switched to."""
        return sorted(self._looked().versions)

    def switch(self) -> Switch:
        """The switch as it stands."""
        return self._looked().switch

    def look(self) -> None:
        """Takes over what the operator's folder holds now, where it changed and nothing in it is wrong."""
        root = settings.CONFIG.exchange_api_dir
        try:
            looks = _looks(Path(root), self.slug) if root else ()
        except OSError as error:
            self._looks = None
            self._refuse(f"EXCHANGE_API_DIR can't be read ({type(error).__name__})")
            return
        if looks == self._looks:
            return
        self._looks = looks
        try:
            self._in_use = self._read_files([Path(path) for path, *_ in looks])
        except (BadApiFile, OSError, UnicodeDecodeError) as error:
            self._refuse(str(error))
            return
        self.fault = ""
        METRICS.count(f"exchange_api.{self.slug}_loaded")
        switch = msgspec.to_builtins(self._in_use.switch)
        log.info("exchange_api_loaded", exchange=self.slug, versions=sorted(self._in_use.versions), switch=switch)

    def _looked(self) -> _InUse[Api]:
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self.look()
        return self._in_use

    def _refuse(self, reason: str) -> None:
        if reason != self.fault:
            self.fault = reason
            METRICS.count(f"exchange_api.{self.slug}_refused")
            log.error("exchange_api_refused", exchange=self.slug, reason=reason)

    def _read_files(self, paths: Sequence[Path]) -> _InUse[Api]:
        """Raises BadApiFile, which names the file, OSError, UnicodeDecodeError."""
        found: dict[str, Api] = {}
        switch = Switch()
        for path in paths:
            text = path.read_text(encoding="utf-8")
            try:
                if path.name == SWITCH:
                    switch = _read_switch(text)
                    continue
                api = self._read(text)
                self._require_fit(api, found)
            except BadApiFile as error:
                raise BadApiFile(f"{path.name}: {error}") from error
            found[api.version] = api
        versions = {self.shipped.version: self.shipped, **found}
        self._require_known(switch, versions)
        return _InUse(versions, switch)

    def _require_fit(self, api: Api, others: Mapping[str, Api]) -> None:
        if api.version in others:
            raise BadApiFile(f"another file is version {api.version} too")
        # By these names the adapter asks what a request costs.
        if missing := _costed(self.shipped) - _costed(api):
            raise BadApiFile(f"costs leave out {', '.join(sorted(missing))}")

    def _require_known(self, switch: Switch, versions: Mapping[str, Api]) -> None:
        canary = [switch.canary.version] if switch.canary is not None else []
        wanted = {name for name in (switch.version, *switch.modes.values(), *canary) if name}
        if unknown := wanted - versions.keys():
            raise BadApiFile(f"{SWITCH}: no such version: {', '.join(sorted(unknown))}")
        if unknown := switch.modes.keys() - {*self.shipped.bases, SIMULATOR}:
            raise BadApiFile(f"{SWITCH}: no such mode: {', '.join(sorted(unknown))}")


def _looks(root: Path, slug: str) -> _Looks:
    """Of a venue's files; a venue may have none, but the root is there. Raises OSError."""
    root.stat()
    stats = [(str(path), path.stat()) for path in sorted((root / slug).glob("*.toml"))]
    return tuple((path, stat.st_mtime_ns, stat.st_size, stat.st_ino) for path, stat in stats)


def _read_switch(text: str) -> Switch:
    try:
        return msgspec.convert(tomllib.loads(text), Switch)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadApiFile(str(error)) from error


def _costed(api: ApiFile) -> set[str]:
    return {request for requests in api.costs.values() for request in requests}
