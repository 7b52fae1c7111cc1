"""The audit log: committed with what it records, or not at all; scrubbed; shown to its owner only."""

import pytest
from django.db import transaction

from accounts import journal
from accounts.models import User
from accounts.tenancy import ScopeError, everyone, tenant_scope
from audit.models import AuditLog
from audit.record import record


def test_an_entry_commits_with_what_it_records(alice: User) -> None:
    with transaction.atomic():
        record("order.placed", user_id=alice.pk)
        transaction.set_rollback(True)  # the order could not be written
    with everyone():
        assert not AuditLog.objects.exists()


def test_secrets_in_details_are_removed(alice: User) -> None:
    row = record("connection.created", user_id=alice.pk, details={"api_key": "planted", "name": "spot"})
    with tenant_scope(alice.pk):
        row.refresh_from_db()
    assert row.details["name"] == "spot"
    assert "planted" not in str(row.details)


def test_only_the_owners_rows_are_read(alice: User, bob: User) -> None:
    record("login.succeeded", user_id=alice.pk)
    record("login.succeeded", user_id=bob.pk)
    record("login.failed", user_id=None)
    with tenant_scope(alice.pk):
        assert list(AuditLog.objects.values_list("user", flat=True)) == [alice.pk]
    with pytest.raises(ScopeError):
        AuditLog.objects.count()


def test_without_a_recorder_nothing_goes_unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_recorder", None)
    with pytest.raises(journal.NoRecorder):
        journal.record("login.succeeded", user_id=None)
