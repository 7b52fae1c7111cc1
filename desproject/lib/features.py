"""Feature flags: new behaviours that reach users step by step. This module is the one place that declares them.

``FEATURE_<NAME>`` in the environment says how far one is rolled out::

    off     nobody
    alpha   the accounts that administrators marked as alpha
    10%     those, and so much of all users (0 to 100, at most two decimals)
    on      everybody

Who has a feature at some percentage has it at every higher one: each user stands at a fixed point between 0 and 100,
another one for each feature. Isolation of tenants and custody of keys are no features: they can't be switched off.
A feature that everybody has had for a release loses its flag, and the code its other branch.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from django.conf import settings

_PREFIX = "FEATURE_"
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)%")


class FeaturesUnusable(ValueError):
    """Variables that name no feature or no stage; ``faults`` has a line for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Account(Protocol):
    """The user whom a feature reaches, or not."""

    pk: UUID
    is_alpha: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a feature is rolled out: whether alpha accounts have it, and what percentage of the others."""

    alpha: bool
    percent: float

    @classmethod
    def of(cls, text: str) -> "Stage":
        """Reads ``off``, ``alpha``, ``on`` or a percentage. Raises ValueError."""
        if (known := _NAMED.get(text.strip().lower())) is not None:
            return known
        share = _SHARE.fullmatch(text.strip())
        if share is None or float(share[1]) > 100:
            raise ValueError("must be off, alpha, on or a percentage like 10%")
        return cls(alpha=True, percent=float(share[1]))


_NAMED = {"off": Stage(False, 0), "alpha": Stage(True, 0), "on": Stage(True, 100)}


@dataclass(frozen=True, slots=True)
class Feature:
    """One behaviour behind a flag: what it switches, why somebody may want the other branch, how it is shipped."""

    name: str
    switches: str
    why: str
    default: str

    @property
    def variable(self) -> str:
        return _PREFIX + self.name

    def reaches(self, user: Account) -> bool:
        """Whether this user has it."""
        stage: Stage = settings.FEATURE_STAGES[self.name]
        return (stage.alpha and user.is_alpha) or point(self.name, str(user.pk)) < stage.percent


def point(name: str, key: str) -> float:
    """Where somebody stands in what is rolled out under a name: in [0, 100), the same in every process and for ever."""
    digest = hashlib.sha256(f"{name}|{key}".encode()).digest()
    return int.from_bytes(digest[:6]) * 100 / 2**48


GATEWAY_TRUST = Feature(
    "GATEWAY_TRUST",
    switches="A gateway in use is given out before its connection's row is looked at again: an order doesn't wait for "
    "the database on its way to the exchange, and a changed key is seen a use later.",
    why="Off where a changed or deleted key must not be used even once more, at the price of a query a use and second.",
    default="on",
)

FEATURES = (GATEWAY_TRUST,)


def stages(environ: Mapping[str, str]) -> dict[str, Stage]:
    """The stage of every feature. Raises FeaturesUnusable, which names every bad variable."""
    known = {feature.variable: feature for feature in FEATURES}
    wanted = {name.upper(): text for name, text in environ.items() if name.upper().startswith(_PREFIX) and text}
    found = {feature.name: Stage.of(feature.default) for feature in FEATURES}
    faults = []
    for variable, text in sorted(wanted.items()):
        if variable not in known:
            faults.append(f"{variable}: no such feature, there are {', '.join(sorted(known))}")
            continue
        try:
            found[known[variable].name] = Stage.of(text)
        except ValueError as error:
            faults.append(f"{variable}: {error}")
    if faults:
        raise FeaturesUnusable(faults)
    return found


def active(user: Account) -> list[str]:
    """The names of the features that this user has."""
    return [feature.name for feature in FEATURES if feature.reaches(user)]
