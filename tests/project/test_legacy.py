"""A former single-user installation is taken in: keys sealed and compared, the source blanked only then."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from audit.record import record
from connections import custody
from connections.custody import open_credentials
from connections.models import Connection
from desproject.legacy import importing
from desproject.legacy.importing import Importer, default_user
from desproject.legacy.source import opened
from desproject.lib.crypto import Keyring
from tests.project.legacy import Legacy, legacy_database
from trading.models import InstanceStatus, StrategyInstance, Trade

pytestmark = pytest.mark.django_db


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Legacy]:
    with legacy_database(tmp_path) as legacy:
        yield legacy


def run(command: str, *arguments: str) -> str:
    told = StringIO()
    call_command(command, *arguments, stdout=told)
    return told.getvalue()


def take_in(old: Legacy, *arguments: str) -> str:
    return run("encrypt_connections", "--from", old.where, *arguments)


def stored(model: Any = Connection) -> list[Any]:
    with everyone():
        return list(model.objects.order_by("name" if model is not Trade else "exchange_trade_id"))


def opened_keys() -> list[tuple[str, str]]:
    return sorted((key.api_key, key.api_secret) for key in map(open_credentials, stored()))


def test_every_key_is_sealed_for_the_default_user_and_the_source_keeps_its_own(old: Legacy) -> None:
    old.fill(5)
    told = take_in(old, "--batch-size", "2")
    assert "15 rows imported, 0 were here already" in told
    assert opened_keys() == old.keys() == [old.key(number) for number in range(1, 6)]
    row = stored()[0]
    assert (row.name, row.exchange, row.mode) == ("account 1 (1)", "binance_spot", "testnet")
    assert (row.status, row.api_key_masked) == ("disabled", "BINANCE_***_0001")
    assert row.api_key_sealed.startswith("ENC[v1]:")
    owner = default_user("legacy")
    assert owner is not None
    assert not owner.is_active
    assert not owner.has_usable_password()
    assert {row.user_id for model in (Connection, StrategyInstance, Trade) for row in stored(model)} == {owner.pk}


def test_traders_and_trades_come_along(old: Legacy) -> None:
    old.fill(1)
    take_in(old)
    (connection,), (instance,), (trade,) = stored(), stored(StrategyInstance), stored(Trade)
    assert (instance.strategy, instance.status, instance.params) == (
        "ema_cross", InstanceStatus.STOPPED, {"fast": 3, "slow": 9}
    )
    assert (str(trade.quantity), str(trade.price), trade.side) == ("0.015", "50000.5", "buy")
    assert trade.executed_at.isoformat() == "2025-03-01T12:00:00+00:00"
    assert instance.connection_id == trade.connection_id == connection.pk


def test_a_second_run_takes_nothing_in_twice(old: Legacy) -> None:
    old.fill(3)
    take_in(old)
    before = [row.api_key_sealed for row in stored()]
    assert "0 rows imported, 9 were here already" in take_in(old)
    assert [row.api_key_sealed for row in stored()] == before


def test_a_run_that_was_cut_off_is_gone_on_with(old: Legacy) -> None:
    old.fill(5)
    with opened(old.where, to_write=False) as source:
        cut = Importer(source, "legacy", 2).run()
        next(cut), next(cut)
        cut.close()
    assert len(stored()) == 2
    assert "13 rows imported, 2 were here already" in take_in(old)
    assert opened_keys() == old.keys()


def test_a_dry_run_reads_everything_and_writes_nothing(old: Legacy) -> None:
    old.fill(2)
    assert "6 rows would be imported" in take_in(old, "--dry-run")
    assert stored() == stored(StrategyInstance) == []
    assert default_user("legacy") is None
    with everyone():
        assert not AuditLog.objects.exists()


def test_what_doesnt_read_back_is_rolled_back(old: Legacy, monkeypatch: pytest.MonkeyPatch) -> None:
    old.fill(2)
    honest = Keyring.seal
    monkeypatch.setattr(Keyring, "seal", lambda keys, secret, place: honest(
        keys, secret + "!" * place.startswith("connections."), place
    ))  # fmt: skip
    with pytest.raises(CommandError, match="connections 1 doesn't read back"):
        take_in(old, "--blank-source")
    assert stored() == []
    assert old.keys() == [old.key(1), old.key(2)]


@pytest.mark.parametrize(
    ("exchange", "key", "reason"),
    [("mtgox", "k", "unknown exchange: 'mtgox'"), ("binance", "", "has no key and secret")],
)
def test_a_row_that_cant_be_taken_in_is_named_and_keeps_the_source_as_it_is(
    old: Legacy, exchange: str, key: str, reason: str
) -> None:
    old.fill(1)
    old.insert("connections", 2, "odd", exchange, 0, key, "secret")
    told = StringIO()
    with pytest.raises(CommandError, match="1 rows can't be taken in; the source keeps its keys"):
        call_command("encrypt_connections", "--from", old.where, "--blank-source", stdout=told)
    assert f"connections 2: {reason}" in told.getvalue()
    assert opened_keys() == [old.key(1)]
    assert old.keys()[0] == old.key(1)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("quantity", "much", "not a decimal number"), ("side", "hold", "side must be"), ("executed_at", "soon", "")],
)
def test_a_bad_trade_is_named(old: Legacy, column: str, value: str, reason: str) -> None:
    old.fill(1)
    old.query(f"UPDATE trades SET {column} = '{value}'")  # noqa: S608  # our own values
    told = StringIO()
    with pytest.raises(CommandError, match="1 rows"):
        call_command("encrypt_connections", "--from", old.where, stdout=told)
    assert f"trades 1: {reason}" in told.getvalue()


def test_the_source_is_blanked_on_request(old: Legacy) -> None:
    old.fill(5)
    assert "5 connections of the source hold no key any more" in take_in(old, "--blank-source", "--batch-size", "2")
    assert old.keys() == [("", "")] * 5
    assert opened_keys() == [old.key(number) for number in range(1, 6)]
    if old.path is not None:
        assert b"legacy-plain" not in old.path.read_bytes()


def test_a_blanked_source_can_be_run_again(old: Legacy) -> None:
    old.fill(2)
    take_in(old, "--blank-source")
    assert "0 rows imported, 6 were here already" in take_in(old, "--blank-source")
    assert opened_keys() == [old.key(1), old.key(2)]


def test_a_key_that_is_not_the_stored_one_is_never_blanked(old: Legacy) -> None:
    """Somebody changed it in the source after it was taken in."""
    old.fill(2)
    take_in(old)
    old.query("UPDATE connections SET api_key = 'a-newer-key' WHERE id = 2")
    with pytest.raises(CommandError, match="1 rows can't be taken in; the source keeps its keys"):
        take_in(old, "--blank-source")
    assert old.keys() == [old.key(1), ("a-newer-key", old.key(2)[1])]


def test_a_key_that_changes_between_comparing_and_blanking_stays(
    old: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.fill(1)
    holds = importing._holds

    def changed_after(*arguments: Any) -> bool:
        found = holds(*arguments)
        old.query("UPDATE connections SET api_key = 'a-newer-key'")
        return found

    take_in(old)
    with opened(old.where, to_write=True) as source:
        monkeypatch.setattr(importing, "_holds", changed_after)
        for progress in Importer(source, "legacy").blank(importing.Progress(1)):
            assert progress.blanked == 0
    assert old.keys() == [("a-newer-key", old.key(1)[1])]


@pytest.mark.parametrize("where", ["/nowhere/old.sqlite3", "postgresql://nobody@127.0.0.1:1/none"])
def test_a_source_that_cant_be_opened_is_told(where: str) -> None:
    with pytest.raises(CommandError):
        run("encrypt_connections", "--from", where)


def test_a_file_that_is_no_installation_is_told(tmp_path: Path) -> None:
    (tmp_path / "old.sqlite3").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(CommandError, match="not a database"):
        run("encrypt_connections", "--from", str(tmp_path / "old.sqlite3"))


def test_errors_and_output_hold_no_key(old: Legacy) -> None:
    old.fill(2)
    old.insert("connections", 3, "odd", "mtgox", 0, *old.key(3))
    told = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("encrypt_connections", "--from", old.where, stdout=told)
    with everyone():
        audited = str(list(AuditLog.objects.values_list("details", flat=True)))
    assert "legacy-plain" not in told.getvalue() + str(caught.value) + audited


def test_everything_is_handed_to_a_real_user_and_the_default_one_removed(old: Legacy, alice: User) -> None:
    old.fill(5)
    take_in(old)
    run("hand_over_legacy", "--to", "Alice@example.org", "--batch-size", "2")
    with tenant_scope(alice.pk):
        assert [model.objects.count() for model in (Connection, StrategyInstance, Trade)] == [5, 5, 5]
    assert opened_keys() == old.keys()
    assert {(row.status, row.status_reason) for row in stored()} == {
        ("unhealthy", "imported: test this key before it trades")
    }
    assert not User.objects.filter(email__contains="legacy").exists()
    assert "0 rows imported, 15 were here already" in take_in(old), "it knows them whoever has them"


def test_a_hand_over_that_was_cut_off_is_gone_on_with(
    old: Legacy, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.fill(3)
    take_in(old)
    seal, sealed = custody.seal_credentials, []

    def dies_at_the_second(*arguments: Any, **more: Any) -> Any:
        sealed.append(1)
        if len(sealed) == 2:
            raise KeyboardInterrupt
        return seal(*arguments, **more)

    monkeypatch.setattr("desproject.legacy.handover.seal_credentials", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run("hand_over_legacy", "--to", alice.email, "--batch-size", "1")
    assert opened_keys() == old.keys(), "whoever's they are, they open"
    run("hand_over_legacy", "--to", alice.email)
    assert {row.user_id for row in stored()} == {alice.pk}
    assert opened_keys() == old.keys()


def test_a_default_user_of_whom_the_audit_log_tells_stays_as_a_deleted_one(old: Legacy, alice: User) -> None:
    old.fill(1)
    take_in(old)
    owner = default_user("legacy")
    assert owner is not None
    record("api_key.unreadable", user_id=owner.pk)
    run("hand_over_legacy", "--to", alice.email)
    assert User.objects.get(pk=owner.pk).is_deleted
    assert default_user("legacy") is None


@pytest.mark.parametrize(("name", "to"), [("legacy", "nobody@example.org"), ("other", "alice@example.org")])
def test_nothing_is_handed_to_nobody(old: Legacy, alice: User, name: str, to: str) -> None:
    old.fill(1)
    take_in(old)
    with pytest.raises(CommandError):
        run("hand_over_legacy", "--name", name, "--to", to)
    assert stored()[0].user_id != alice.pk
