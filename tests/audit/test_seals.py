"""What was done to the audit log by somebody who may do everything in the database is found, and named."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from accounts.models import User
from accounts.stored_keys import stored_key
from accounts.tenancy import everyone
from audit import append_only, heads
from audit.heads import Head
from audit.models import AuditLog, AuditSeal
from audit.purging import purge_rows
from audit.record import entry, record
from audit.sealer import Sealer, seal_all, seal_batch
from audit.verification import verify
from connections import database
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock

Sql = Callable[..., None]


@pytest.fixture(autouse=True)
def _keys_of_this_database() -> Iterator[None]:
    stored_key.cache_clear()
    yield
    stored_key.cache_clear()


@pytest.fixture
def rows(alice: User, bob: User) -> list[int]:
    """The ids of five sealed rows, of two tenants and of nobody."""
    users = [alice.pk, bob.pk, None, alice.pk, bob.pk]
    made = [
        record("order.placed", user_id=user, resource_id=number, ip="::ffff:10.0.0.1", details={"n": 1e22, "t": [0.10]})
        for number, user in enumerate(users)
    ]
    seal_all()
    return [row.pk for row in made]


@pytest.fixture
def intruder(db: None) -> Iterator[Sql]:
    """Runs SQL as one whom no trigger stops, nor the wall between tenants."""
    append_only.remove(connection)

    def run(statement: str, *params: str | int) -> None:
        with everyone(), connection.cursor() as cursor:
            cursor.execute(statement, params)

    yield run
    append_only.install(connection)


def found(*known: Head) -> list[str]:
    return [str(finding) for finding in verify(known)]


def newest() -> Head:
    seal = AuditSeal.objects.latest("number")
    return Head(seal.number, seal.link)


def test_an_untouched_log_verifies(rows: list[int]) -> None:
    assert found(newest()) == []
    assert AuditSeal.objects.count() == 5


@pytest.mark.parametrize(
    ("column", "value"),
    [("event_type", "login.succeeded"), ("details", '{"n": 2}'), ("ip", "10.0.0.2"), ("resource_id", "7")],
)
def test_an_altered_row_is_named(rows: list[int], intruder: Sql, column: str, value: str) -> None:
    intruder(f"UPDATE audit_logs SET {column} = %s WHERE id = %s", value, rows[1])  # noqa: S608
    assert found() == [f"row {rows[1]}: altered, or not written by DES"]


def test_a_row_given_to_another_tenant_is_named(rows: list[int], intruder: Sql, bob: User) -> None:
    with everyone():
        AuditLog.objects.filter(pk=rows[0]).update(user=bob)
    assert found() == [f"row {rows[0]}: altered, or not written by DES"]


def test_a_removed_row_is_named(rows: list[int], intruder: Sql) -> None:
    intruder("DELETE FROM audit_logs WHERE id = %s", rows[2])
    assert found() == [f"row {rows[2]}: removed"]


def test_a_row_removed_with_its_seal_is_named(rows: list[int], intruder: Sql) -> None:
    intruder("DELETE FROM audit_logs WHERE id = %s", rows[2])
    intruder("DELETE FROM audit_seals WHERE number = 3")
    assert found() == ["seals 3 to 3: removed"]


def test_closing_the_gap_of_a_removed_row_shows(rows: list[int], intruder: Sql) -> None:
    intruder("DELETE FROM audit_logs WHERE id = %s", rows[2])
    intruder("DELETE FROM audit_seals WHERE number = 3")
    intruder("UPDATE audit_seals SET number = 3 WHERE number = 4")
    intruder("UPDATE audit_seals SET number = 4 WHERE number = 5")
    assert [line.split(":")[0] for line in found()] == ["seal 3", "seal 4"]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_row_inserted_by_hand_is_named(rows: list[int], intruder: Sql, alice: User, sealed: bool) -> None:
    with everyone():
        AuditLog.objects.bulk_create([entry("login.succeeded", user_id=alice.pk)])
        forged = AuditLog.objects.latest("pk").pk
    intruder("UPDATE audit_logs SET code = %s WHERE id = %s", "f" * 64, forged)
    if sealed:
        seal_all()
    assert [line.split(":")[0] for line in found()] == [f"row {forged}"]


def test_a_copied_row_is_named(rows: list[int], intruder: Sql) -> None:
    columns = "user_id, event_type, resource_type, resource_id, ip, user_agent, details, created_at, code"
    copy = f"INSERT INTO audit_logs ({columns}) SELECT {columns} FROM audit_logs WHERE id = %s"  # noqa: S608
    intruder(copy, rows[0])
    seal_all()
    assert found() == [f"rows {rows[0]}, {rows[-1] + 1}: one row, 2 times"]


def test_rows_that_changed_places_are_named(rows: list[int], intruder: Sql) -> None:
    for old, new in ((rows[0], -1), (rows[3], rows[0]), (-1, rows[3])):
        intruder("UPDATE audit_logs SET id = %s WHERE id = %s", new, old)
    assert found() == [f"row {pk}: altered, or not written by DES" for pk in (rows[0], rows[3])]


def test_a_cut_tail_shows_against_an_exported_head(rows: list[int], intruder: Sql) -> None:
    head = newest()
    intruder("DELETE FROM audit_logs WHERE id >= %s", rows[3])
    intruder("DELETE FROM audit_seals WHERE number >= 4")
    assert found() == []  # nothing in the database tells
    assert found(head) == ["chain: ends at seal 3, but seal 5 was exported: its tail was cut off"]


def test_a_chain_made_anew_isnt_the_exported_one(rows: list[int], intruder: Sql) -> None:
    head = newest()
    intruder("DELETE FROM audit_logs WHERE id = %s", rows[0])
    intruder("DELETE FROM audit_seals")
    seal_all()
    record("login.succeeded", user_id=None)
    seal_all()
    assert found(head) == ["seal 5: isn't the one that was exported"]


def test_a_row_that_nobody_seals_is_named(rows: list[int]) -> None:
    late = record("login.succeeded", user_id=None)
    assert found() == []
    in_two_minutes = ManualClock(SYSTEM_CLOCK.now() + timedelta(minutes=2))
    assert [str(finding) for finding in verify(clock=in_two_minutes)] == [
        f"row {late.pk}: without a seal for longer than a minute"
    ]


def test_purged_rows_are_no_fault_and_the_rest_verifies(rows: list[int], alice: User) -> None:
    head = newest()
    assert purge_rows(alice.pk, before=SYSTEM_CLOCK.now(), reason="3 years over") == 2
    with everyone():
        assert list(AuditLog.objects.order_by("pk").values_list("pk", flat=True)) == [rows[1], rows[2], rows[4]]
    assert found(head) == []


def test_a_purge_that_des_did_not_make_is_named(rows: list[int], intruder: Sql, alice: User) -> None:
    purge_rows(alice.pk, before=SYSTEM_CLOCK.now(), reason="3 years over")
    intruder("INSERT INTO audit_purged (audit_log_id, purge_id) SELECT %s, id FROM audit_purges", rows[1])
    intruder("DELETE FROM audit_logs WHERE id = %s", rows[1])
    assert [line.split(":")[1] for line in found()] == [" altered, or not made by DES"]


@pytest.mark.django_db(transaction=True)
def test_four_writers_and_two_sealers_at_once_lose_nothing(alice: User) -> None:
    def write() -> None:
        for number in range(50):
            record("order.placed", user_id=alice.pk, resource_id=number)
        connections.close_all()

    async def seal(until: "asyncio.Event") -> None:
        sealers = [asyncio.create_task(Sealer(database.run, Counter()).run()) for _ in range(2)]
        await until.wait()
        for task in sealers:
            task.cancel()
        await asyncio.gather(*sealers, return_exceptions=True)

    async def both() -> None:
        written = asyncio.Event()
        sealing = asyncio.create_task(seal(written))
        with ThreadPoolExecutor(4) as threads:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(threads, write) for _ in range(4)))
        written.set()
        await sealing

    asyncio.run(both())
    seal_all()
    with everyone():
        assert AuditLog.objects.filter(event_type="order.placed").count() == 200
    assert found() == []


def test_a_batch_is_bounded(alice: User) -> None:
    with everyone():
        AuditLog.objects.bulk_create([entry("order.placed", user_id=alice.pk, resource_id=n) for n in range(250)])
    assert (seal_batch(), seal_batch(), seal_batch()) == (200, 50, 0)


def verified(**options: Any) -> str:
    out = StringIO()
    call_command("verify_audit", stdout=out, **options)
    return out.getvalue()


def test_the_command_tells_that_all_is_well(rows: list[int]) -> None:
    heads.heads_file().unlink(missing_ok=True)
    heads.export()
    assert verified() == "5 sealed rows, 1 exported heads: all as they were written\n"


def test_the_command_names_what_it_finds_and_fails(rows: list[int], intruder: Sql, tmp_path: Any) -> None:
    intruder("DELETE FROM audit_logs WHERE id = %s", rows[2])
    empty = tmp_path / "heads"
    empty.touch()
    out = StringIO()
    with pytest.raises(CommandError, match="1 faults found"):
        call_command("verify_audit", heads=empty, stdout=out)
    assert out.getvalue() == f"row {rows[2]}: removed\n"


def test_a_file_of_heads_that_isnt_one_is_refused(rows: list[int], tmp_path: Any) -> None:
    file = tmp_path / "heads"
    file.write_text("{}\n")
    with pytest.raises(CommandError, match="line 1"):
        verified(heads=file)
