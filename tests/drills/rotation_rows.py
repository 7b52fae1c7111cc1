"""The rows of a rotation drill, in a process of the installation's own: made, or read again and again.

``python -m tests.drills.rotation_rows seed COUNT`` or ``read``. Wants the installation's environment, with both keys.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import django

django.setup()

from django.db import connections  # noqa: E402  # after the set-up

from accounts.models import User  # noqa: E402
from accounts.second_factor import otp_place  # noqa: E402
from accounts.tenancy import everyone  # noqa: E402
from connections.custody import seal_credentials  # noqa: E402
from connections.gateways import Credentials  # noqa: E402
from connections.models import Connection, ConnectionStatus  # noqa: E402
from desproject.key_sources import from_environment  # noqa: E402
from desproject.lib.crypto import CustodyError, Keyring, version_of  # noqa: E402
from desproject.lib.custody import keyring  # noqa: E402
from desproject.rotation import KEPT, Kept  # noqa: E402
from tests.bench.children import say  # noqa: E402

OLD_VERSION = 1
_EACH_USER_HAS = 200
# Small enough for an installation that trades beside it.
_BATCH = 200


def seed(count: int) -> None:
    """So many connections of users who don't trade, and everything there is sealed under the old key.

    The new ones are disabled: their keys are made up, and nobody is to try them at the exchange.
    """
    old = _old_keyring()
    users = [_user(number, old) for number in range(-(-count // _EACH_USER_HAS))]
    User.objects.bulk_create(users, batch_size=_BATCH)
    rows = [_connection(users[number // _EACH_USER_HAS], number, old) for number in range(count)]
    with everyone():
        for at in range(0, count, _BATCH):
            Connection.objects.bulk_create(rows[at : at + _BATCH])
        for kept in KEPT:
            for row in kept.older_than(OLD_VERSION):
                _seal_under(old, kept, row)


def _old_keyring() -> Keyring:
    return Keyring({OLD_VERSION: from_environment(os.environ)[OLD_VERSION]})


def _user(number: int, old: Keyring) -> User:
    user = User(email=f"dormant{number}-{uuid4().hex[:6]}@example.org", password="!")
    user.otp_secret = old.seal("JBSWY3DPEHPK3PXP", otp_place(user))
    return user


def _connection(user: User, number: int, old: Keyring) -> Connection:
    row = Connection(
        user=user, name=f"dormant {number}", exchange="binance_spot", mode="simulator",
        status=ConnectionStatus.DISABLED, status_reason="made for a drill",
    )
    key = Credentials(f"drill-key-{uuid4().hex}", f"drill-secret-{uuid4().hex}")
    seal_credentials(
        key, user_id=user.pk, connection_id=row.pk, exchange=row.exchange, keyring=old
    ).store_in(row)
    return row


def _seal_under(keys: Keyring, kept: Kept, row: Any) -> None:
    both = keyring()
    places = {column: place(row) for column, place in kept.places.items() if getattr(row, column)}
    sealed = {column: keys.seal(both.open(getattr(row, column), place), place) for column, place in places.items()}
    version = {kept.version_column: keys.newest} if kept.version_column else {}
    kept.model.objects.filter(pk=row.pk).update(**sealed, **version)


@dataclass(slots=True)
class Seen:
    """What a reader saw: how often it went through all rows, and in how many passes both versions stood there."""

    passes: int = 0
    opened: int = 0
    mixed_passes: int = 0
    unreadable: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def read_all(seen: Seen) -> None:
    """Opens every sealed value once."""
    versions: Counter[int] = Counter()
    for name, row, sealed, place in _values():
        try:
            keyring().open(sealed, place)
        except CustodyError as error:
            seen.unreadable.append(f"{name} {row}: {error}")
        else:
            versions[version_of(sealed)] += 1
    seen.passes += 1
    seen.opened += versions.total()
    seen.mixed_passes += len(versions) > 1
    seen.versions = {str(version): found for version, found in sorted(versions.items())}


def _values() -> Iterator[tuple[str, Any, str, str]]:
    """Table, row, ciphertext and its place."""
    for kept in KEPT:
        with everyone():
            for row in kept.model.objects.only(*kept.columns).order_by().iterator(chunk_size=500):
                for column, place in kept.places.items():
                    if sealed := getattr(row, column):
                        yield kept.name, row.pk, sealed, place(row)


def read_for_ever() -> None:
    """Until SIGTERM; tells what it saw then, after one more pass. Says ``1`` after the first one."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    seen = Seen()
    while not ended:
        read_all(seen)
        if seen.passes == 1:
            say(1)
    read_all(seen)
    say(seen.as_json())


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(int(sys.argv[2]))
    else:
        read_for_ever()
    connections.close_all()
