"""An administrator at the admin site, and a row of every kind to look at."""

import pytest
from django.test import Client as Browser

from accounts.models import BetaCode, DisclosureAcceptance, LoginTries, PasswordReset, RecoveryCode, User
from accounts.signing import signing_key
from accounts.tenancy import tenant_scope
from audit.models import AuditPurge, PurgedAuditLog
from audit.sealer import seal_all
from connections.models import KeyHolder, Lease, Process
from tests.conftest import PASSWORD
from tests.web.exchange import ALICE_KEY
from tests.web.rows import AT, Owned, make_everything
from trading.models import Bar


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator@example.org", PASSWORD)


@pytest.fixture
def desk(operator: User) -> Browser:
    browser = Browser()
    answer = browser.post("/admin/login/", {"username": operator.email, "password": PASSWORD, "next": "/admin/"})
    assert answer.status_code == 302, "the administrator can log in"
    return browser


@pytest.fixture
def rows(alice: User) -> Owned:
    owned = make_everything(alice, ALICE_KEY)
    signing_key()
    RecoveryCode.objects.create(user=alice, code_hash="5" * 64)
    PasswordReset.objects.create(user=alice, token_hash="5" * 64, expires_at=AT)
    BetaCode.objects.create(code_hash="5" * 64, hint="spring")
    with tenant_scope(alice.pk):
        DisclosureAcceptance.objects.create(user=alice, version="1", accepted_at=AT)
    alice.login_attempts.create(email=alice.email, success=True)
    LoginTries.objects.create(subject=f"email:{alice.email}", failed=1, last_failed_at=AT)
    seal_all()
    purge = AuditPurge.objects.create(reason="test", rows=0, signature="", purged_at=AT)
    PurgedAuditLog.objects.create(audit_log_id=1, purge=purge)
    Lease.objects.create(kind="shard", key="1", expires_at=AT)
    Process.objects.create(kind="shard", host="here", pid=1, started_at=AT, seen_at=AT)
    KeyHolder.objects.create(role="web", host="here", pid=1, fingerprints={"1": "00"}, seen_at=AT)
    Bar.objects.create(
        feed="binance_spot:live", symbol="BTC/USDT", timeframe="1m", opened_at=AT,
        open=1, high=1, low=1, close=1, volume=1,
    )  # fmt: skip
    return owned
