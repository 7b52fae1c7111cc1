"""What is kept how long, by a clock that runs ahead."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import models

from accounts.caller import Caller
from accounts.deletion import delete_user
from accounts.models import DisclosureAcceptance, LoginAttempt, User
from accounts.tenancy import TenantModel, everyone, tenant_scope
from audit.models import AuditLog
from audit.record import record
from audit.verification import verify
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock
from desproject.retention import purge_expired
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import make_everything
from trading.models import Order, Trade

pytestmark = pytest.mark.django_db
HERE = Caller(ip="192.0.2.1", user_agent="a test")
DAY = timedelta(days=1)


def after(years: int, days: int = 0) -> ManualClock:
    now = SYSTEM_CLOCK.now()
    return ManualClock(now.replace(year=now.year + years, day=min(now.day, 28)) + days * DAY)


@pytest.fixture
def administrator(charlie: User) -> User:
    User.objects.filter(pk=charlie.pk).update(is_admin=True)
    charlie.refresh_from_db()
    return charlie


@pytest.fixture
def deleted(alice: User, bob: User, administrator: User) -> User:
    """Alice was deleted today; Bob lives. Both have one row of everything."""
    make_everything(alice, ALICE_KEY)
    make_everything(bob, BOB_KEY)
    LoginAttempt.objects.create(user=alice, email=alice.email, success=True)
    LoginAttempt.objects.create(user=bob, email=bob.email, success=True)
    for user in (alice, bob):
        with tenant_scope(user.pk):
            DisclosureAcceptance.objects.create(user=user, version="1", accepted_at=SYSTEM_CLOCK.now())
    delete_user(deleter=administrator, user_id=alice.pk, caller=HERE)
    return alice


def tenant_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if issubclass(model, TenantModel)]


def rows_of(user: User) -> Counter[str]:
    with everyone():
        counted = {model.__name__: model._default_manager.filter(user=user).count() for model in tenant_models()}
        return Counter({**counted, "AuditLog": AuditLog.objects.filter(user=user).count()})


def purge(clock: ManualClock) -> Counter[str]:
    return Counter({purged.table: purged.rows for purged in purge_expired(clock)})


def test_before_three_years_everything_stays(deleted: User) -> None:
    before = rows_of(deleted)
    assert min(before.values()) > 0
    assert not purge(after(3, days=-8))
    assert rows_of(deleted) == before


def test_after_three_years_the_audit_log_goes_and_the_rest_of_it_still_verifies(deleted: User) -> None:
    before = rows_of(deleted)
    gone = purge(after(3, days=8))
    assert gone["audit_logs"] == before["AuditLog"]
    assert set(gone) == {"audit_logs", "login_attempts", "devices", "disclosure_acceptances"}
    left = rows_of(deleted)
    assert left["AuditLog"] == 0
    assert left["Trade"] == before["Trade"] == 1
    assert list(verify()) == []


def test_after_seven_years_nothing_is_left_of_the_user(deleted: User) -> None:
    purge(after(7, days=8))
    assert not rows_of(deleted).total()
    assert not User.objects.filter(pk=deleted.pk).exists()
    assert not LoginAttempt.objects.filter(email=deleted.email).exists()
    assert list(verify()) == []


def test_a_purge_that_ends_after_every_kind_is_gone_on_with(deleted: User) -> None:
    """As a killed one does: each kind is a transaction of its own, and what is done stands in the rows alone."""
    clock, runs = after(7, days=8), 0
    while next(purge_expired(clock), None):
        runs += 1
        assert list(verify()) == []
    assert runs > 10
    assert not rows_of(deleted).total()
    assert not User.objects.filter(pk=deleted.pk).exists()


def test_of_the_living_everything_stays(deleted: User, bob: User) -> None:
    before = rows_of(bob)
    purge(after(7, days=8))
    assert rows_of(bob) == before
    assert LoginAttempt.objects.filter(user=bob).exists()


def test_an_order_waits_for_its_youngest_trade(deleted: User) -> None:
    with everyone():
        Order.objects.filter(user=deleted).update(created_at=SYSTEM_CLOCK.now() - 10 * DAY)
    purge(after(7, days=-5))
    left = rows_of(deleted)
    assert left["Trade"] == 1
    assert left["Order"] == 1
    assert left["OrderEvent"] == 1


def test_what_was_written_after_the_deletion_is_kept_as_long(deleted: User) -> None:
    with everyone():
        Trade.objects.filter(user=deleted).update(created_at=SYSTEM_CLOCK.now() + 20 * DAY)
    purge(after(7, days=8))
    assert rows_of(deleted)["Trade"] == 1
    assert User.objects.filter(pk=deleted.pk).exists()
    purge(after(7, days=28))
    assert not User.objects.filter(pk=deleted.pk).exists()


def test_audit_rows_of_nobody_follow_their_age(deleted: User) -> None:
    record("login.failed", user_id=None, at=datetime(2020, 1, 1, tzinfo=UTC))
    record("login.failed", user_id=None)
    assert purge(ManualClock(SYSTEM_CLOCK.now()))["audit_logs"] == 1
    with everyone():
        assert AuditLog.objects.filter(user=None).count() == 1


def test_a_dry_run_removes_nothing(deleted: User) -> None:
    before = rows_of(deleted)
    said = StringIO()
    assert {purged.table for purged in purge_expired(after(7, days=8), dry_run=True)} >= {"trades", "audit_logs"}
    call_command("purge_expired", "--dry-run", stdout=said)
    assert "0 rows would be removed" in said.getvalue()
    assert rows_of(deleted) == before
