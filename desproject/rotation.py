"""Sealing everything anew under the newest master key while the installation runs (KEY-4).

All state is in the rows themselves: a ciphertext names its version. So a rotation may be killed at any moment and run
again. Each row is written only where it still holds what was read: a key changed meanwhile is never overwritten.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import SystemConfig, User
from accounts.second_factor import otp_place
from accounts.stored_keys import value_place
from accounts.tenancy import everyone
from audit.record import record
from connections.custody import key_place, secret_place
from connections.key_holders import who_lacks_newest
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.crypto import SEALED, CustodyError, Keyring, sealed_under, version_of


class NotEverybodyReady(Exception):
    """A living process couldn't open what would be sealed; the text names each."""


class RotationFault(Exception):
    """The database gave back something else than was written; that batch was rolled back."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A table with sealed columns, and the place that each one's encryption is tied to."""

    name: str
    model: Any
    places: Mapping[str, Callable[[Any], str]]
    # The column that repeats the version, for people.
    version_column: str = ""

    def older_than(self, version: int) -> "QuerySet[Any]":
        """The rows with a ciphertext of another version, in the order of their keys. Inside ``everyone``."""
        older = Q()
        for column in self.places:
            older |= Q(**{f"{column}__startswith": SEALED}) & ~Q(**{f"{column}__startswith": sealed_under(version)})
        rows: QuerySet[Any] = self.model.objects.filter(older)
        return rows.order_by("pk").only(*self.columns)

    def versions(self) -> Counter[int | None]:
        """How many rows each version holds: a row counts with its oldest; None is what names no version."""
        with everyone():
            rows = self.model.objects.order_by().values_list(*self.places)
            return Counter(version for row in rows.iterator() for version in _oldest(row))

    @property
    def columns(self) -> list[str]:
        """What a row's places are made of, and what stands there."""
        owner = ["user_id"] if self.model is Connection else []
        return ["pk", *self.places, *owner]


KEPT = (
    Kept(
        "connections",
        Connection,
        {
            "api_key_sealed": lambda row: key_place(row.user_id, row.pk),
            "api_secret_sealed": lambda row: secret_place(row.user_id, row.pk),
        },
        version_column="key_version",
    ),
    Kept("users", User, {"otp_secret": otp_place}),
    Kept("system_config", SystemConfig, {"value": lambda row: value_place(row.key)}),
)


@dataclass(slots=True)
class Progress:
    """What became of the rows so far. ``changed_meanwhile``: somebody else wrote them, under the newest key."""

    total: int
    resealed: int = 0
    changed_meanwhile: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.resealed + self.changed_meanwhile + len(self.unreadable)


@dataclass(frozen=True, slots=True)
class _Resealed:
    pk: Any
    old: dict[str, str]
    new: dict[str, str]
    plain: dict[str, str] = field(repr=False)


def rotate(keys: Keyring, *, batch_size: int, dry_run: bool = False) -> Generator[Progress, None, None]:
    """Reseals all rows; tells how far it is before the first batch and after each one. ``dry_run`` only opens them.

    Raises NotEverybodyReady (looked at before every batch), RotationFault.
    """
    with everyone():
        progress = Progress(sum(kept.older_than(keys.newest).count() for kept in KEPT))
    if not dry_run:
        _require_everybody(keys)
        record("master_key.rotation_started", user_id=None, details={"to": keys.newest, "rows": progress.total})
    yield progress
    for kept in KEPT:
        for rows in _batches(kept, keys.newest, batch_size):
            resealed = [done for row in rows if (done := _reseal(kept, row, keys, progress, audited=not dry_run))]
            if dry_run:
                progress.resealed += len(resealed)
            else:
                _require_everybody(keys)
                _write(kept, resealed, keys, progress)
            yield progress
    if not dry_run:
        record(
            "master_key.rotated", user_id=None,
            details={
                "to": keys.newest, "resealed": progress.resealed, "changed_meanwhile": progress.changed_meanwhile,
                "unreadable": len(progress.unreadable),
            },
        )  # fmt: skip


def _require_everybody(keys: Keyring) -> None:
    if lacking := who_lacks_newest(keys, SYSTEM_CLOCK.now()):
        raise NotEverybodyReady(f"can't read version {keys.newest}: {', '.join(lacking)}")


def _batches(kept: Kept, version: int, size: int) -> Iterator[Sequence[Any]]:
    """By key, and past those that couldn't be opened."""
    last = None
    while True:
        with everyone():
            rows = kept.older_than(version)
            batch = list((rows.filter(pk__gt=last) if last is not None else rows)[:size])
        if not batch:
            return
        yield batch
        last = batch[-1].pk


def _reseal(kept: Kept, row: Any, keys: Keyring, progress: Progress, *, audited: bool) -> _Resealed | None:
    """None, and told, when a row can't be opened: it stays what it is."""
    old = {column: getattr(row, column) for column in kept.places if getattr(row, column)}
    places = {column: kept.places[column](row) for column in old}
    try:
        plain = {column: keys.open(old[column], places[column]) for column in old}
    except CustodyError as error:
        progress.unreadable.append(f"{kept.name} {row.pk}: {error}")
        if audited:
            record(
                "api_key.unreadable" if kept.model is Connection else "secret.unreadable",
                user_id=getattr(row, "user_id", None), resource_type=kept.name, resource_id=row.pk,
                details={"use": "rotation", "reason": str(error)},
            )  # fmt: skip
        return None
    return _Resealed(row.pk, old, {column: keys.seal(plain[column], places[column]) for column in old}, plain)


def _write(kept: Kept, batch: Sequence[_Resealed], keys: Keyring, progress: Progress) -> None:
    """One short transaction, its rows locked in the order of their keys, as engines do: no deadlock, no long wait."""
    version = {kept.version_column: keys.newest} if kept.version_column else {}
    with everyone(), transaction.atomic():
        rows = kept.model.objects
        written = [
            done for done in batch if rows.filter(pk=done.pk, **done.old).update(**done.new, **version)
        ]
        _verify(kept, written, keys)
    progress.resealed += len(written)
    progress.changed_meanwhile += len(batch) - len(written)


def _verify(kept: Kept, written: Sequence[_Resealed], keys: Keyring) -> None:
    """Opens what now stands in the database."""
    stored = kept.model.objects.in_bulk([done.pk for done in written])
    for done in written:
        row = stored[done.pk]
        try:
            same = all(
                keys.open(getattr(row, column), kept.places[column](row)) == plain
                for column, plain in done.plain.items()
            )
        except CustodyError:
            same = False
        if not same:
            raise RotationFault(f"{kept.name} {done.pk} doesn't read back as it was written")


def _oldest(sealed: Sequence[str]) -> Iterator[int | None]:
    """The lowest version among a row's ciphertexts; nothing for a row without any."""
    found = [_version(text) for text in sealed if text]
    if found:
        yield None if None in found else min(version for version in found if version is not None)


def _version(sealed: str) -> int | None:
    try:
        return version_of(sealed)
    except CustodyError:
        return None
