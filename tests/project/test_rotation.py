"""Rotation of the master key: everything sealed anew, nothing lost, nothing overwritten, nobody locked out."""

import base64
import os
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from accounts.models import SystemConfig, User
from accounts.second_factor import otp_place
from accounts.stored_keys import stored_key, value_place
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections import key_holders
from connections.custody import open_credentials, seal_credentials
from connections.gateways import Credentials
from connections.models import Connection, KeyHolder, Process
from desproject import rotation
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.crypto import Keyring, version_of
from desproject.rotation import KEPT

OLD, NEW, FOREIGN = b"o" * 32, b"n" * 32, b"f" * 32
KEY = Credentials("alice-key-0123456789", "alice-secret-0123456789")
NEW_KEY = Credentials("alice-new-0123456789", "alice-newer-0123456789")


@pytest.fixture(autouse=True)
def both(settings: Any, db: None) -> Iterator[Keyring]:
    """The keyring of this process: the old key and the new one."""
    settings.KEYRING = Keyring({1: OLD, 2: NEW})
    stored_key.cache_clear()
    yield settings.KEYRING
    stored_key.cache_clear()


def bind(user: User, keys: Keyring | None = None, key: Credentials = KEY) -> Connection:
    row = Connection(id=uuid4(), user=user, name=str(uuid4()), exchange="binance_spot", mode="simulator")
    seal_credentials(
        key, user_id=user.pk, connection_id=row.pk, exchange=row.exchange, keyring=keys or Keyring({1: OLD})
    ).store_in(row)
    with tenant_scope(user.pk):
        row.save(force_insert=True)
    return row


def stored(row: Connection) -> Connection:
    with everyone():
        return Connection.objects.get(pk=row.pk)  # type: ignore[no-any-return]


def events(event: str) -> list[AuditLog]:
    with everyone():
        return list(AuditLog.objects.filter(event_type=event))


def rotate(*arguments: str) -> str:
    told = StringIO()
    call_command("rotate_keys", *arguments, stdout=told)
    return told.getvalue()


def test_keys_second_factors_and_stored_keys_are_sealed_under_the_newest_key(alice: User, bob: User) -> None:
    old = Keyring({1: OLD})
    rows = [bind(alice), bind(bob)]
    User.objects.filter(pk=alice.pk).update(otp_secret=old.seal("totp", otp_place(alice)))
    SystemConfig.objects.create(key="signing", value=old.seal("stored", value_place("signing")))

    told = rotate("--batch-size", "1").splitlines()

    only_new = Keyring({2: NEW})
    assert [open_credentials(stored(row), keyring=only_new) for row in rows] == [KEY, KEY]
    assert {stored(row).key_version for row in rows} == {2}
    assert only_new.open(User.objects.get(pk=alice.pk).otp_secret, otp_place(alice)) == "totp"
    assert only_new.open(SystemConfig.objects.get(key="signing").value, value_place("signing")) == "stored"
    # The installation's other stored key is the audit log's.
    assert told[-3:] == ["connections: version 2: 2", "users: version 2: 1", "system_config: version 2: 2"]
    assert [event.details["resealed"] for event in events("master_key.rotated")] == [4]


def test_gateways_stay_open_because_the_key_is_the_same(alice: User) -> None:
    row = bind(alice)
    rotate()
    assert stored(row).credential_version == row.credential_version


def test_a_second_run_changes_nothing(alice: User) -> None:
    row = bind(alice)
    rotate()
    before = stored(row).api_key_sealed
    assert "0 rows sealed anew" in rotate()
    assert stored(row).api_key_sealed == before


def test_a_run_that_was_cut_off_is_gone_on_with(alice: User) -> None:
    rows = [bind(alice) for _ in range(5)]
    cut = rotation.rotate(Keyring({1: OLD, 2: NEW}), batch_size=2)
    next(cut), next(cut)
    cut.close()

    assert sorted(version_of(stored(row).api_key_sealed) for row in rows) == [1, 1, 1, 2, 2]
    assert "3 rows sealed anew" in rotate()
    assert {version_of(stored(row).api_secret_sealed) for row in rows} == {2}


def test_a_key_that_is_replaced_meanwhile_is_not_overwritten(
    alice: User, both: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bind(alice)
    write = rotation._write

    def replaced_before(*arguments: Any) -> None:
        changed = stored(row)
        seal_credentials(
            NEW_KEY, user_id=alice.pk, connection_id=row.pk, exchange=row.exchange, keyring=both
        ).store_in(changed)
        with tenant_scope(alice.pk):
            changed.save()
        write(*arguments)

    monkeypatch.setattr(rotation, "_write", replaced_before)

    assert "0 rows sealed anew, 1 changed meanwhile" in rotate()
    assert open_credentials(stored(row)) == NEW_KEY


def test_what_doesnt_read_back_is_rolled_back(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    row = bind(alice)
    honest = Keyring.seal

    def altered(keys: Keyring, secret: str, place: str) -> str:
        return honest(keys, secret + "!" * place.startswith("connections."), place)

    monkeypatch.setattr(Keyring, "seal", altered)

    with pytest.raises(CommandError, match="doesn't read back"):
        rotate()

    assert open_credentials(stored(row)) == KEY
    assert stored(row).key_version == 1


def test_a_dry_run_opens_every_row_and_writes_nothing(alice: User) -> None:
    row = bind(alice)
    told = rotate("--dry-run")
    assert "1 rows would be sealed anew" in told
    assert "connections: version 1: 1" in told
    assert stored(row).api_key_sealed == row.api_key_sealed
    assert not events("master_key.rotated")


def test_a_row_that_cant_be_opened_is_named_audited_and_left(alice: User, bob: User) -> None:
    readable, tampered = bind(alice), bind(bob)
    with everyone():
        Connection.objects.filter(pk=tampered.pk).update(api_key_sealed=readable.api_key_sealed)

    told = StringIO()
    with pytest.raises(CommandError, match="1 rows can't be opened"):
        call_command("rotate_keys", stdout=told)

    assert f"connections {tampered.pk}" in told.getvalue()
    assert "connections: version 1: 1, version 2: 1" in told.getvalue()
    assert stored(tampered).api_key_sealed == readable.api_key_sealed
    assert [(event.user_id, event.resource_id) for event in events("api_key.unreadable")] == [
        (bob.pk, str(tampered.pk))
    ]


def holder(pid: int, keys: Keyring, silent_seconds: float = 0) -> None:
    KeyHolder.objects.create(
        role="web", host="far-away", pid=pid, seen_at=SYSTEM_CLOCK.now() - timedelta(seconds=silent_seconds),
        fingerprints={str(version): mark for version, mark in keys.fingerprints().items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("held", "reason"), [({1: OLD}, "doesn't have it"), ({1: OLD, 2: FOREIGN}, "has another key of that version")]
)
def test_it_refuses_while_a_living_process_cant_read_the_newest_key(
    alice: User, held: dict[int, bytes], reason: str
) -> None:
    row = bind(alice)
    holder(77, Keyring(held))
    with pytest.raises(CommandError, match=rf"web far-away:77 \({reason}\)"):
        rotate()
    assert stored(row).key_version == 1


def test_a_process_that_starts_with_old_keys_only_stops_it_between_batches(
    alice: User, both: Keyring
) -> None:
    rows = [bind(alice) for _ in range(3)]
    under_way = rotation.rotate(both, batch_size=1)
    next(under_way), next(under_way)
    holder(78, Keyring({1: OLD}))
    with pytest.raises(rotation.NotEverybodyReady, match="far-away:78"):
        next(under_way)
    assert sorted(stored(row).key_version for row in rows) == [1, 1, 2]


def test_an_engine_that_doesnt_tell_what_it_holds_stops_it(alice: User) -> None:
    now = SYSTEM_CLOCK.now()
    Process.objects.create(kind="shard", host="far-away", pid=79, started_at=now, seen_at=now)
    with pytest.raises(CommandError, match="shard far-away:79 \\(doesn't tell\\)"):
        rotate()


def test_the_dead_and_those_who_hold_the_newest_key_dont_stop_it(alice: User, both: Keyring) -> None:
    row = bind(alice)
    holder(77, Keyring({1: OLD}), silent_seconds=key_holders.LIFE_SECONDS + 1)
    key_holders.report(uuid4())
    rotate()
    assert stored(row).key_version == 2
    living = KeyHolder.objects.get(pid=os.getpid())
    assert set(living.fingerprints) == {"1", "2"}


def test_fingerprints_dont_tell_the_key(both: Keyring) -> None:
    for mark in both.fingerprints().values():
        assert len(mark) == 16
        assert mark not in (OLD.hex(), NEW.hex(), base64.b64encode(OLD).decode())
    assert both.fingerprints()[2] != Keyring({2: FOREIGN}).fingerprints()[2]


def _columns() -> Iterator[tuple[str, str]]:
    for model in apps.get_models():
        for column in model._meta.fields:
            if column.name.endswith(("_sealed", "_secret")):
                yield model._meta.db_table, column.name


def test_every_column_that_holds_something_sealed_is_rotated() -> None:
    named = {(kept.name, column) for kept in KEPT for column in kept.places}
    assert set(_columns()) | {("system_config", "value")} == named
